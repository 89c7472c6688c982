//! Somebody stands between client and server: he learns nothing, and what he cuts off is never taken for whole.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use super::{PASSWORD, alone, elsewhere};
use crate::harness::{Client, Fault, Impostor, PATIENCE, Proxy, Setup, random_bytes, wait_until};

#[test]
fn whoever_shows_another_key_than_the_masters_hears_no_password() {
    let cluster = Setup::new(1)
        .on_localhost()
        .account(["ada"], PASSWORD)
        .start();
    let proxy = Proxy::before(cluster.address());
    let client = Client::new(proxy.address.to_string())
        .options(["--tls", "always"])
        .with_login("ada", PASSWORD);
    client.run(["ls"]).succeeded();
    let impostor = Impostor::start();
    proxy.forward_to(impostor.address);
    let stopped = client.run(["ls"]);
    stopped.failed(4, &format!("the server's key is {}", impostor.key));
    assert!(impostor.heard().is_empty());
}

#[test]
fn whoever_shows_another_key_than_the_slaves_hears_no_ticket() {
    let mut cluster = Setup::new(0).start();
    let proxy = Proxy::listen();
    cluster.add_slave_behind(&proxy);
    cluster.wait_for_slaves(1);
    let client = cluster.client().options(["--tls", "always"]);
    client.run(["ls"]).succeeded();
    let impostor = Impostor::start();
    proxy.forward_to(impostor.address);
    let stopped = client.run(["ls"]);
    stopped.failed(4, &format!("the slave shows the key {}", impostor.key));
    assert!(impostor.heard().is_empty());
}

/// A connection that is cut between two records looks like one that ends: only `close_notify`, and the closing frame of the
/// transfer, tell them apart.
#[test]
fn a_get_that_is_cut_at_the_border_of_records_goes_on_and_is_never_taken_for_whole() {
    let cluster = alone().start();
    let content = random_bytes(17, 3 << 20);
    cluster.write("a.bin", &content);
    let proxy = Proxy::before(cluster.address());
    let client = Client::new(proxy.address.to_string()).options(["--tls", "always"]);
    for records in (1..12).chain([40, 100, 180]) {
        proxy.next(Fault::CutAfterRecords { records });
        let cut = client.run(["get", "a.bin"]);
        if cut.code == 0 {
            assert_eq!(client.read("a.bin"), content, "after {records} records");
            std::fs::remove_file(client.path("a.bin")).unwrap();
        } else {
            // Before the session stood there was nothing to go on with.
            assert_eq!(cut.code, 3, "{}", cut.stderr);
            assert!(!client.path("a.bin").exists());
        }
    }
    // With nobody to go on with.
    proxy.always(Fault::CutAfterRecords { records: 100 });
    let client = client.options(["--retries", "0"]);
    client.run(["get", "a.bin"]).failed(3, "");
    assert!(!client.path("a.bin").exists());
}

#[test]
fn whoever_strips_tls_is_not_spoken_to() {
    for answer in [
        "",
        "220 mini-ftp ready\r\n",
        "220 ready\r\n220 ready\r\n",
        "SSH-2.0-x\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let theirs = Arc::clone(&heard);
        let serve = move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                stream.write_all(answer.as_bytes()).ok();
                stream.shutdown(Shutdown::Write).ok();
                let mut said = Vec::new();
                stream.read_to_end(&mut said).ok();
                theirs.lock().unwrap().push(said);
            }
        };
        thread::Builder::new().spawn(serve).unwrap();
        for (host, tls) in [
            (format!("0.0.0.0:{port}"), "auto"),
            (port.to_string(), "always"),
        ] {
            let client = Client::new(host).options(["--tls", tls]);
            let client = client.with_login("ada", PASSWORD);
            client.run(["ls"]).failed(3, "no TLS with it");
            wait_until("the stripper to have heard all", PATIENCE, || {
                !heard.lock().unwrap().is_empty()
            });
            for said in heard.lock().unwrap().drain(..) {
                let is_tls = said.first().is_none_or(|first| *first == 0x16);
                assert!(is_tls && !String::from_utf8_lossy(&said).contains("canary"));
            }
        }
    }
}

#[test]
fn a_server_that_speaks_no_tls_is_not_spoken_to_in_clear() {
    let cluster = alone().slave_options(["--tls", "never"]).start();
    Client::new(elsewhere(&cluster))
        .run(["ls"])
        .failed(3, "no TLS with it");
    cluster
        .client()
        .options(["--tls", "always"])
        .run(["ls"])
        .failed(3, "no TLS with it");
    cluster.client().run(["ls"]).succeeded();
}
