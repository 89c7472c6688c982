//! The program that serves a folder from a pre-forked pool.
#![forbid(unsafe_code)]
