//! What the allocator keeps of memory that was freed. Other libraries than the GNU C library do as they like.

/// From this size on a block is a mapping of its own, bytes: more than any buffer for content, less than a password's hash takes.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 4 * 1024 * 1024;

/// What may stay at the end of a heap, bytes: so much that buffers which come and go cost nothing.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 2 * 1024 * 1024;

/// Has the allocator keep little of what is freed, from now on and for the whole process (mallopt(3)): large blocks are given back
/// to the machine at once, and there is an arena for each core, not eight. By itself the library takes the largest block that was
/// ever freed for ordinary, and keeps as much in each arena; and as long as no large one was, it keeps next to nothing, and buffers
/// that come and go are new memory each time.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let arenas = libc::c_int::try_from(cores).unwrap_or(libc::c_int::MAX);
        for (parameter, value) in [
            (libc::M_MMAP_THRESHOLD, LARGE),
            (libc::M_TRIM_THRESHOLD, KEPT),
            (libc::M_ARENA_MAX, arenas),
        ] {
            // SAFETY: takes no pointer, and locks what it changes.
            unsafe {
                libc::mallopt(parameter, value);
            }
        }
    }
}

/// Gives the memory that was freed back to the machine (malloc_trim(3)), which takes time for each page of it: the library
/// keeps most, for each thread there once was.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: as above.
    unsafe {
        libc::malloc_trim(0);
    }
}
