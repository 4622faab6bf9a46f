/* Runs a program and prints the peak resident memory, in KiB, of the largest process it was.
 *
 * Usage: meter STDIN PROGRAM [ARG...]
 *
 * A small parent: a process' peak counts what it was before its exec (getrusage(2), ru_maxrss), and
 * an interpreter is as large as what is measured. Exits with the program's status. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
    struct rusage usage;
    int status;
    if (argc < 3)
        return 2;
    pid_t pid = fork();
    if (pid < 0)
        return 1;
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(open(argv[1], O_RDONLY), 0);
        dup2(null, 1);
        dup2(null, 2);
        execv(argv[2], argv + 2);
        _exit(127);
    }
    if (wait4(pid, &status, 0, &usage) < 0)
        return 1;
    printf("%ld\n", usage.ru_maxrss);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
