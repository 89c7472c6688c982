/* A wall clock that can be put forward and back for one program: the seconds in the file that STORM_CLOCK names are added,
   and how often that was done is counted behind them.
   The file is mapped before the program's sandbox stands. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct clock {
    int64_t ahead;
    uint64_t told;
};

static volatile struct clock *own;
static int (*kernel_time)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("STORM_CLOCK");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *own, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0)
        close(file);
    if (page != MAP_FAILED)
        own = page;
    kernel_time = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (!kernel_time)
        begin();
    int result = kernel_time(clock, time);
    if (result == 0 && clock == CLOCK_REALTIME && own && own->ahead) {
        time->tv_sec += own->ahead;
        __atomic_add_fetch(&own->told, 1, __ATOMIC_RELAXED);
    }
    return result;
}
