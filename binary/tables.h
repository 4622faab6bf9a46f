/* The words of the Python side that main needs as well, made from it by tables.py. */

extern const char *const commands[];
extern const char *const edited[];
extern const char *const valued[];
extern const char *const switches[];
extern const char *const default_runtimes[];
extern const char default_config[];
extern const char usual_dirs[]; /* colon-separated */
