/* A library that goes before the C library (LD_PRELOAD) and makes the file system fail, as the environment says:
   UNREADABLE  a part of a path: reading from such a file is an I/O error
   UNLISTABLE  a part of a path: listing such a folder is an I/O error
   FULL        a part of a path, and FULL_AFTER bytes: after so many were written below it, the disk is full
   BEHIND      seconds that the clock is behind */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int is_named(int file, const char *variable) {
    const char *wanted = getenv(variable);
    char link[64], path[4096];
    if (!wanted) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, wanted) != NULL;
}

ssize_t read(int file, void *buffer, size_t count) {
    ssize_t (*real)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
    if (!is_named(file, "UNREADABLE")) return real(file, buffer, count);
    errno = EIO;
    return -1;
}

ssize_t write(int file, const void *buffer, size_t count) {
    static size_t written;
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (is_named(file, "FULL") && __atomic_add_fetch(&written, count, __ATOMIC_SEQ_CST) > strtoul(getenv("FULL_AFTER"), 0, 10)) {
        errno = ENOSPC;
        return -1;
    }
    return real(file, buffer, count);
}

DIR *opendir(const char *path) {
    DIR *(*real)(const char *) = dlsym(RTLD_NEXT, "opendir");
    const char *wanted = getenv("UNLISTABLE");
    if (!wanted || !strstr(path, wanted)) return real(path);
    errno = EIO;
    return NULL;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, now);
    if (clock == CLOCK_REALTIME && getenv("BEHIND")) now->tv_sec -= atol(getenv("BEHIND"));
    return status;
}
