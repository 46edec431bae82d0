//! What the allocator does with memory that was freed.

/// Keeps freed memory in the process for the next tensor. Call it first, before there are threads.
///
/// A forward pass takes and frees the same tens of megabytes over and over. glibc hands blocks of that size straight
/// back to the kernel, which clears every page again for the next one: a tenth and more of the processor time of a
/// capture. So no block is mapped on its own, nothing is trimmed, and all threads share the one arena that can keep
/// blocks of any size. The process then stays as large as it was at its largest. Other allocators are left as they are.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets three numbers of the allocator, and touches no memory of ours. One that it refuses stays as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
