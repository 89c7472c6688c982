//! Servers that are met, remembered, vouched for, and those that demand TLS.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::{PASSWORD, alone, elsewhere, pins, remembered};
use crate::harness::{Client, Cluster, Setup};

/// Has every server of a cluster without a master make another key.
fn change_key(cluster: &mut Cluster) {
    let keys = fs::read_dir(cluster.state()).unwrap();
    let keys = keys.map(|entry| entry.unwrap().path());
    let keys: Vec<_> = keys
        .filter(|path| path.extension().is_some_and(|name| name == "pem"))
        .collect();
    assert!(!keys.is_empty());
    keys.iter().for_each(|key| fs::remove_file(key).unwrap());
    cluster.restart();
}

#[test]
fn the_first_use_is_told_and_the_second_is_silent() {
    let cluster = alone().start();
    cluster.write("a.txt", b"hello\n");
    let host = elsewhere(&cluster);
    let client = Client::new(&host);
    let first = client.run(["cat", "a.txt"]);
    first.succeeded();
    let (name, key) = {
        let line = remembered(&client);
        let (name, key) = line.trim_end().split_once(' ').unwrap();
        (name.to_owned(), key.to_owned())
    };
    assert!(name == host && key.starts_with("SHA256:") && key.len() == 50);
    let file = pins(&client);
    let news = format!(
        "ftpclient: {host} is new: {key}, remembered in '{}'\n",
        file.display()
    );
    assert_eq!(
        (first.stdout.as_str(), first.stderr.as_str()),
        ("hello\n", news.as_str())
    );
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    let second = client.run(["cat", "a.txt"]);
    assert_eq!(
        (second.succeeded().stdout.as_str(), second.stderr.as_str()),
        ("hello\n", "")
    );
    // Whom one trusts is told also to who wants to hear nothing, and to no program on stdout.
    for option in ["-q", "--json"] {
        let other = Client::new(&host).options([option]);
        let first = other.run(["get", "a.txt"]);
        assert_eq!(first.succeeded().stderr.lines().count(), 1, "{option}");
        assert!(first.stderr.contains(&format!("{host} is new: {key}, ")));
        first.json();
    }
}

#[test]
fn another_key_is_a_hard_stop_until_its_line_is_removed() {
    let mut cluster = alone().start();
    let client = Client::new(elsewhere(&cluster));
    client.run(["ls"]).succeeded();
    let file = pins(&client);
    let before = format!("# my servers\n{}", remembered(&client));
    fs::write(&file, &before).unwrap();
    change_key(&mut cluster);
    let line = format!("remove line 2 of '{}'", file.display());
    client.run(["ls"]).failed(4, &line);
    client.run(["ls"]).failed(4, "the server's key is SHA256:");
    assert_eq!(remembered(&client), before);
    fs::write(&file, "# my servers\n").unwrap();
    let again = client.run(["ls"]);
    assert!(again.succeeded().stderr.contains(" is new: SHA256:"));
    // A line about it that makes no sense is no line that is not there.
    for nonsense in ["", "SHA256:?", "certified more"] {
        fs::write(&file, format!("{} {nonsense}\n", elsewhere(&cluster))).unwrap();
        client.run(["ls"]).failed(4, "known_masters', line 1: ");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    client.run(["ls"]).failed(4, "chmod go=");
}

/// A certificate for a host, its key, and the authority that vouches for it.
fn certified(host: &str, folder: &Path) -> [PathBuf; 3] {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new([host.to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, &issuer).unwrap();
    let files = ["certificate.pem", "key.pem", "ca.pem"].map(|name| folder.join(name));
    let texts = [certificate.pem(), key.serialize_pem(), authority_pem];
    for (file, text) in files.iter().zip(texts) {
        fs::write(file, text).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    files
}

#[test]
fn an_authority_vouches_for_a_host_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key, authority] = certified("0.0.0.0", folder.path());
    let cluster = alone()
        .slave_options(["--cert".into(), certificate, "--key".into(), key])
        .start();
    let with = |authority: &Path| {
        let client = Client::new(elsewhere(&cluster));
        client.options(["--ca"]).options([authority])
    };
    let client = with(&authority);
    assert_eq!(client.run(["ls"]).succeeded().stderr, "");
    assert_eq!(remembered(&client), "");
    let [.., other] = certified("0.0.0.0", tempfile::tempdir().unwrap().path());
    with(&other).run(["ls"]).failed(1, "cannot use --ca");
    let elsewhere = tempfile::tempdir().unwrap();
    let [.., other] = certified("0.0.0.0", elsewhere.path());
    with(&other)
        .run(["ls"])
        .failed(4, "certificate is not trusted");
    // Its word is for one name; and without it the server is anybody.
    let mut client = with(&authority).options(["--tls", "always"]);
    client.move_to(cluster.address().to_string());
    client.run(["ls"]).failed(4, "certificate is not trusted");
    let anybody = Client::new(super::elsewhere(&cluster)).run(["ls"]);
    assert!(anybody.succeeded().stderr.contains(" is new: SHA256:"));
    // The system's authorities are asked where none is named.
    let client = Client::new(super::elsewhere(&cluster));
    let mut command = client.command(["ls"]);
    command.env("SSL_CERT_FILE", &authority);
    assert_eq!(client.finish(command, b"").succeeded().stderr, "");
    assert_eq!(
        remembered(&client),
        format!("{} certified\n", super::elsewhere(&cluster))
    );
    client.run(["ls"]).failed(4, "had a certificate");
}

#[test]
fn tls_is_spoken_where_the_server_demands_it_and_never_where_the_person_forbids_it() {
    let setup = Setup::new(2).account(["ada"], PASSWORD);
    let cluster = setup
        .master_options(["--tls", "always"])
        .slave_options(["--tls", "always"])
        .start();
    cluster.write("a.txt", b"hello\n");
    let client = cluster.client().with_login("ada", PASSWORD);
    let first = client.run(["cat", "a.txt"]);
    assert_eq!(first.succeeded().stdout, "hello\n");
    assert!(first.stderr.contains(" is new: SHA256:"));
    assert_eq!(client.run(["cat", "a.txt"]).succeeded().stderr, "");
    let plain = cluster.client().options(["--tls", "never"]);
    plain
        .run(["cat", "a.txt"])
        .failed(3, "the server demands TLS");
}

#[test]
fn without_tls_no_password_leaves_this_machine_and_everybodys_words_may() {
    let cluster = Setup::new(1).on_localhost().account(["ada"], PASSWORD);
    let cluster = cluster.master_options(["--anonymous", "read-only"]).start();
    cluster.write("a.txt", b"hello\n");
    let never = || Client::new(elsewhere(&cluster)).options(["--tls", "never"]);
    never().run(["cat", "a.txt"]).succeeded();
    let ada = never().with_login("ada", PASSWORD);
    let sentence = "a password is not sent in the clear to another machine";
    ada.run(["cat", "a.txt"]).failed(4, sentence);
}
