//! What a slave does with everything a client may send: preface, frames, requests, content.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mini_ftp_fuzz::{check, connection, read_all, within_memory};
use protocol::{ClientPreface, Request};

fuzz_target!(|input: &[u8]| within_memory(|| {
    let Some((is_raw, mut connection)) = connection(input) else {
        return;
    };
    if is_raw {
        let mut preface = [0; ClientPreface::LENGTH];
        if connection.read_exact(&mut preface).is_err() {
            return;
        }
        if let Ok(preface) = ClientPreface::decode(&preface) {
            preface.common_version();
        }
    }
    read_all(&mut connection, check::<Request>).ok();
}));
