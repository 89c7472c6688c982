//! The program that meets clients and sends each one to a slave.
#![forbid(unsafe_code)]
