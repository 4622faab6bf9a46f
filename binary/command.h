/* What a command line asks for, and which low-level runtime it becomes. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

enum program { PYSHIM, PYSHIM_HOOK, PYSHIMCTL };

/* The programs' names, by number. */
extern const char *const program_names[];

/* The program that is meant: by argv[0], else by the file that was executed; pyshim is the default. */
enum program program_of(const char *called, const char *file);

/* The number of the program called NAME, -1 for none. */
int program_by_name(const char *name);

/* Whether the arguments after argv[0] name a command that reads a bundle. */
bool edits_bundle(int count, char *const args[]);

enum setting { ABSENT, READ, UNSURE };

enum { MOST_RUNTIMES = 16, CONFIG_BYTES = 16384 };

/* The setting `runtimes`; the names lie in text. */
struct runtimes {
    int count;
    const char *names[MOST_RUNTIMES];
    char text[CONFIG_BYTES + 1];
};

/* Read the first setting of the file: READ, ABSENT where the defaults hold, else UNSURE. */
enum setting read_runtimes(const char *file, struct runtimes *found);

/* Write the path of the first runtime that can be executed to PATH; false when that is not clear.
 * own: this program, which is never the answer. */
bool find_runtime(const struct runtimes *runtimes, const char *search_path, const struct stat *own,
                  char *path, size_t size);
