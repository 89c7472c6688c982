//! How much memory a piece of work holds at most, counted by the allocator: only for checks that it is bounded.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, which also counts what each thread asks for: to be a program's `#[global_allocator]`.
#[derive(Debug)]
pub struct Counting;

thread_local! {
    /// Neither needs to be made nor dropped, so that the allocator may use them at any time.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// The most bytes that this thread held at once during `work`, beyond those that it held before.
pub fn most_held(work: impl FnOnce()) -> usize {
    let before = HELD.get();
    MOST.set(before);
    work();
    usize::try_from(MOST.get().saturating_sub(before)).unwrap_or(0)
}

fn grow(by: usize) {
    let held = HELD.get().wrapping_add(signed(by));
    HELD.set(held);
    MOST.set(MOST.get().max(held));
}

fn shrink(by: usize) {
    // What another thread allocated makes this one's count negative, which is as good as any other beginning.
    HELD.set(HELD.get().wrapping_sub(signed(by)));
}

/// No allocation is longer than this.
fn signed(length: usize) -> isize {
    isize::try_from(length).unwrap_or(isize::MAX)
}

// SAFETY: every call goes to the system's allocator unchanged; the counters are no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller keeps `GlobalAlloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller keeps `GlobalAlloc`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, length: usize) -> *mut u8 {
        // Both may be there for a moment.
        grow(length);
        shrink(layout.size());
        // SAFETY: the caller keeps `GlobalAlloc`'s contract.
        unsafe { System.realloc(pointer, layout, length) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrink(layout.size());
        // SAFETY: the caller keeps `GlobalAlloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    #[test]
    fn the_most_that_is_held_at_once_counts() {
        let held = most_held(|| {
            drop(std::hint::black_box(vec![0_u8; 1000]));
            drop(std::hint::black_box(vec![1_u8; 700]));
        });
        assert_eq!(held, 1000);
        let held = most_held(|| {
            let first = std::hint::black_box(vec![0_u8; 1000]);
            let mut second = std::hint::black_box(vec![1_u8; 700]);
            second.reserve_exact(800);
            drop((first, second));
        });
        assert_eq!(held, 1000 + 700 + 1500);
    }
}
