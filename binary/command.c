/* Reads the command line as ocishim/create/argv.py does, the first setting as ocishim/settings/brokenfile.py, and
 * looks for the runtime as ocishim/lowlevel/lowlevel.py: tests/unit/test_binary.py holds them together. What
 * is not plain is left to them, who word all errors. The words are theirs, too (tables.h). */

#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tables.h"

const char *const program_names[] = {"pyshim", "pyshim-hook", "pyshimctl", NULL};

static bool listed(const char *const list[], const char *word)
{
    for (; *list; list++)
        if (!strcmp(*list, word))
            return true;
    return false;
}

int program_by_name(const char *name)
{
    for (int at = 0; program_names[at]; at++)
        if (!strcmp(program_names[at], name))
            return at;
    return -1;
}

static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

enum program program_of(const char *called, const char *file)
{
    int found = program_by_name(last_name(called));
    if (found < 0)
        found = program_by_name(last_name(file));
    return found < 0 ? PYSHIM : (enum program)found;
}

/* The index of the command, COUNT or more when there is none (argv._parse_globals). */
static int find_command(int count, char *const args[])
{
    for (int at = 0; at < count; at++) {
        if (args[at][0] != '-' || !args[at][1])
            return at;
        if (!strcmp(args[at], "--"))
            return at + 1;
        const char *name = args[at] + strspn(args[at], "-");
        if (strchr(name, '=') || listed(switches, name) || at + 1 == count)
            continue;
        const char *next = args[at + 1];
        if (listed(valued, name) || (!listed(commands, next) && next[0] != '-'))
            at++;
    }
    return count;
}

bool edits_bundle(int count, char *const args[])
{
    int at = find_command(count, args);
    return at < count && listed(edited, args[at]);
}

/* The strings of an array, from behind its bracket to the end of the line; cuts them in place. */
static bool read_strings(char *at, struct runtimes *found)
{
    at += strspn(at, " \t");
    while (*at != ']') {
        if (*at++ != '"')
            return false;
        char *end = at;
        while (*end >= ' ' && *end < 127 && *end != '"' && *end != '\\')
            end++;
        if (*end != '"' || end == at || found->count == MOST_RUNTIMES)
            return false;
        *end++ = '\0';
        found->names[found->count++] = at;
        at = end + strspn(end, " \t");
        if (*at == ',')
            at += 1 + strspn(at + 1, " \t");
        else if (*at != ']')
            return false;
    }
    return found->count && !at[1 + strspn(at + 1, " \t")];
}

/* Read up to the first setting or table, so that a broken file does not block a kill. */
static enum setting read_lines(struct runtimes *found)
{
    static const char key[] = "runtimes = [";
    for (char *line = found->text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        if (!strncmp(line, key, sizeof key - 1))
            return read_strings(line + sizeof key - 1, found) ? READ : UNSURE;
        if (*line == '[')
            return ABSENT;
        if (*line && *line != '#')
            return UNSURE;
    }
    return ABSENT;
}

enum setting read_runtimes(const char *file, struct runtimes *found)
{
    struct stat status;
    found->count = 0;
    /* A FIFO would block a kill for ever. */
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? ABSENT : UNSURE;
    ssize_t size = -1;
    if (!fstat(fd, &status) && S_ISREG(status.st_mode))
        size = read(fd, found->text, CONFIG_BYTES);
    close(fd);
    if (size < 0 || (size == CONFIG_BYTES && status.st_size > size))
        return UNSURE;
    found->text[size] = '\0';
    return strlen(found->text) == (size_t)size ? read_lines(found) : UNSURE;
}

enum status { UNUSABLE, ITSELF, USABLE };

static enum status judge(const char *path, const struct stat *own)
{
    struct stat found;
    if (stat(path, &found) || !S_ISREG(found.st_mode) || access(path, X_OK))
        return UNUSABLE;
    return found.st_dev == own->st_dev && found.st_ino == own->st_ino ? ITSELF : USABLE;
}

/* Judge one candidate; a path that is too long for the kernel is not there. */
static enum status attempt(const char *folder, int length, const char *name,
                           const struct stat *own, char *path, size_t size)
{
    int written = snprintf(path, size, "%.*s%s%s", length, folder, length ? "/" : "", name);
    return written < 0 || (size_t)written >= size ? UNUSABLE : judge(path, own);
}

static enum status search(const char *folders, const char *name, const struct stat *own,
                          char *path, size_t size)
{
    enum status status = UNUSABLE;
    while (folders && status == UNUSABLE) {
        const char *end = strchrnul(folders, ':');
        /* An empty or relative entry is a folder of whoever called us. */
        if (*folders == '/')
            status = attempt(folders, (int)(end - folders), name, own, path, size);
        folders = *end ? end + 1 : NULL;
    }
    return status;
}

bool find_runtime(const struct runtimes *runtimes, const char *search_path, const struct stat *own,
                  char *path, size_t size)
{
    for (int at = 0; at < runtimes->count; at++) {
        const char *name = runtimes->names[at];
        enum status status;
        if (strchr(name, '/')) {
            status = attempt("", 0, name, own, path, size);
        } else {
            status = search(search_path, name, own, path, size);
            if (status == UNUSABLE)
                status = search(usual_dirs, name, own, path, size);
        }
        if (status != UNUSABLE)
            return status == USABLE;
    }
    return false;
}
