//! Connections cut after any number of bytes, for contents of every kind of size.

use super::{Job, MEBIBYTE, Way};
use crate::harness::{Client, Direction, Fault, Proxy, Setup, random_bytes};

/// What stands before the content on the wire, more or less.
const OVERHEAD: usize = 150;

fn cut_everywhere(way: Way) {
    let setup = || Setup::new(1).without_master();
    let mut job = Job::of(setup(), way, Vec::new());
    let proxy = Proxy::before(job.cluster.slaves[0].address);
    let direction = match way {
        Way::Get => Direction::ToClient,
        Way::Put => Direction::ToServer,
    };
    job.client = Client::new(proxy.address.to_string()).options(["--retries", "0"]);
    for (seed, size) in [
        0,
        1,
        1000,
        MEBIBYTE - 1,
        MEBIBYTE,
        MEBIBYTE + 1,
        3 * MEBIBYTE + 17,
    ]
    .into_iter()
    .enumerate()
    {
        let mut cuts = vec![
            1,
            30,
            57,
            OVERHEAD,
            size / 3,
            size,
            size + 60,
            size + OVERHEAD,
        ];
        cuts.extend([MEBIBYTE, MEBIBYTE + OVERHEAD, 2 * MEBIBYTE + OVERHEAD]);
        cuts.retain(|cut| *cut <= size + OVERHEAD && *cut > 0);
        cuts.sort_unstable();
        cuts.dedup();
        for cut in cuts {
            std::fs::remove_file(job.target()).ok();
            job.change_source(random_bytes(seed as u64, size));
            proxy.next(Fault::CutAfter {
                direction,
                bytes: cut as u64,
            });
            let broken = job.client.run([job.verb(), "a.bin"]);
            match broken.code {
                0 => job.assert_whole(),
                _ => {
                    broken.failed(3, "ftpclient: ");
                    assert!(
                        !job.target().exists() || way == Way::Put,
                        "cut after {cut} of {size}"
                    );
                }
            }
            job.finish();
        }
    }
}

#[test]
fn get_resumes_wherever_the_connection_was_cut() {
    cut_everywhere(Way::Get);
}

#[test]
fn put_resumes_wherever_the_connection_was_cut() {
    cut_everywhere(Way::Put);
}
