//! The client library: connect, follow a redirect, download, upload, retry.
#![forbid(unsafe_code)]
