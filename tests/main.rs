//! End-to-end tests through the three real binaries.
