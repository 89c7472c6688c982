//! What the allocator keeps.

/// Gives the memory that was freed back to the machine (malloc_trim(3)): the allocator of the GNU C library keeps most of it, for
/// each thread there once was. Takes time for each page that is given back; does nothing with other libraries.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and locks what it changes.
    unsafe {
        libc::malloc_trim(0);
    }
}
