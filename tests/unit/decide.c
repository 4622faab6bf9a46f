/* main's decisions, to be asked by test_binary.py:
 *   decide edits                    a line of words on stdin, tabs between: yes or no
 *   decide runtime CONFIG PATH OWN  the runtime's path, or "unsure"
 *   decide program CALLED FILE      its name */

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "tables.h"

static void edits(void)
{
    static char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        char *words[256];
        int count = 0;
        char *rest = line;
        line[strcspn(line, "\n")] = '\0';
        while (*line && rest && count < 256)
            words[count++] = strsep(&rest, "\t");
        puts(edits_bundle(count, words) ? "yes" : "no");
    }
}

static const char *runtime(char *const args[])
{
    static struct runtimes runtimes;
    static char path[PATH_MAX];
    struct stat own;
    enum setting setting = read_runtimes(args[0], &runtimes);
    if (setting == UNSURE || stat(args[2], &own))
        return "unsure";
    for (int at = 0; setting == ABSENT && default_runtimes[at]; at++)
        runtimes.names[runtimes.count++] = default_runtimes[at];
    return find_runtime(&runtimes, args[1], &own, path, sizeof path) ? path : "unsure";
}

int main(int argc, char *argv[])
{
    if (argc == 2 && !strcmp(argv[1], "edits"))
        edits();
    else if (argc == 5 && !strcmp(argv[1], "runtime"))
        puts(runtime(argv + 2));
    else if (argc == 4 && !strcmp(argv[1], "program"))
        puts(program_names[program_of(argv[2], argv[3])]);
    else
        return 2;
    return 0;
}
