//! What the allocator keeps of memory that was freed. Other libraries than the GNU C library do as they like.

/// From this size on a block is a mapping of its own, bytes: more than any buffer for content, less than a password's hash takes.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 4 * 1024 * 1024;

/// What may stay at the end of a heap, bytes: so much that buffers which come and go cost nothing.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 2 * 1024 * 1024;

/// Has large blocks given back to the machine as soon as they are freed (mallopt(3)). By itself the library takes the largest
/// one that was ever freed for ordinary, and from then on keeps as much for each thread.
pub fn keep_no_large_blocks() {
    #[cfg(target_env = "gnu")]
    for (parameter, bytes) in [
        (libc::M_MMAP_THRESHOLD, LARGE),
        (libc::M_TRIM_THRESHOLD, KEPT),
    ] {
        // SAFETY: takes no pointer, and locks what it changes.
        unsafe {
            libc::mallopt(parameter, bytes);
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
