//! What the three command lines share: configuration layers, logging, ready line, safe display of names.
#![forbid(unsafe_code)]
