//! Over TLS: who is trusted, and what is said to whom.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::tls::{Identity, Roots};
use auth::{Pin, PinFile};
use client::{
    Client, ClientError, ClientErrorKind, Conflict, Credentials, Encryption, Interrupt, Notice,
    Target,
};
use protocol::{Fingerprint, Secretive};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::front::{Front, in_clear};
use crate::setting::{Setting, content};

const PASSWORD: &[u8] = b"canary-91c2 secret";

/// What the fakes' master gives with its offers.
const SECRET: [u8; 32] = [7; 32];

#[derive(Debug)]
struct Ada;

impl Credentials for Ada {
    fn user(&self) -> &'static str {
        "ada"
    }

    fn password(&self, _: &Target) -> client::Result<Secretive> {
        Ok(Secretive::new(PASSWORD).unwrap())
    }
}

/// A master and slaves that speak TLS, and a client that does so always.
struct Encrypted {
    setting: Setting,
    master: Front,
    slaves: Vec<Front>,
    pins: Arc<PinFile>,
}

impl Encrypted {
    fn new(slaves: u8) -> Self {
        let mut setting = Setting::new(slaves);
        let pins = Arc::new(PinFile::at(setting.state.path().join("pins/known_masters")));
        setting.options.tls = Encryption::Always;
        setting.options.trust.pins = Some(Arc::clone(&pins));
        let slaves: Vec<_> = setting
            .slaves
            .iter()
            .map(|slave| Front::before(slave.address))
            .collect();
        let encrypted = Self {
            master: Front::before(setting.master.address),
            setting,
            slaves,
            pins,
        };
        encrypted.offer(|front| Some(front.key));
        encrypted
    }

    /// Has the master offer the slaves with these keys.
    fn offer(&self, key: impl Fn(&Front) -> Option<Fingerprint>) {
        let mut offers = self.setting.master.offers.lock().unwrap();
        for (offer, front) in offers.iter_mut().zip(&self.slaves) {
            offer.address = front.address;
            offer.fingerprint = key(front);
        }
    }

    fn connect(&self) -> Result<Client, ClientError> {
        self.setting.connect_to(&[self.master.address])
    }

    fn news(&self) -> Vec<String> {
        let is_new = |notice: &Notice| matches!(notice, Notice::NewServer { .. });
        let notices = self.setting.notices().into_iter().filter(is_new);
        notices.map(|notice| notice.to_string()).collect()
    }

    /// What stands in the file.
    fn remembered(&self) -> String {
        fs::read_to_string(self.pins.path()).unwrap_or_default()
    }
}

/// An identity for a host, and the file of the authority that vouches for it.
fn certified(host: &str, folder: &Path) -> (Identity, PathBuf) {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let file = folder.join("ca.pem");
    fs::write(&file, authority.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new([host.to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, &issuer).unwrap();
    let places = ["certificate.pem", "key.pem"].map(|name| folder.join(name));
    for (place, text) in places.iter().zip([certificate.pem(), key.serialize_pem()]) {
        fs::write(place, text).unwrap();
        fs::set_permissions(place, fs::Permissions::from_mode(0o600)).unwrap();
    }
    (Identity::read(&places[0], &places[1]).unwrap(), file)
}

fn refused(result: Result<Client, ClientError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Identity, "{error}");
    error.to_string()
}

#[test]
fn a_server_is_met_once_and_known_by_its_key_from_then_on() {
    let encrypted = Encrypted::new(1);
    let (name, key) = (encrypted.master.address, encrypted.master.key);
    assert_eq!(encrypted.connect().unwrap().disk_free().unwrap().total, 2);
    let file = encrypted.pins.path().display();
    let news = format!("{name} is new: {key}, remembered in '{file}'");
    assert_eq!(encrypted.news(), [news.as_str()]);
    assert_eq!(encrypted.remembered(), format!("{name} {key}\n"));
    encrypted.connect().unwrap();
    assert_eq!(encrypted.news(), [news], "it is known by now");
}

#[test]
fn another_key_than_the_known_one_is_a_hard_stop_that_names_the_line() {
    let encrypted = Encrypted::new(1);
    encrypted.connect().unwrap();
    encrypted.master.heard.lock().unwrap().clear();
    encrypted.master.change_key();
    let mut setting = encrypted.setting;
    setting.options.login = Some(Arc::new(Ada));
    // The second one would do, but whoever shows a wrong key is nobody to step over.
    let result = setting.connect_to(&[encrypted.master.address, setting.master.address]);
    let sentence = refused(result);
    let place = format!("remove line 1 of '{}'", encrypted.pins.path().display());
    let known = format!("and was {}", encrypted.master.key);
    assert!(
        sentence.contains(&place) && sentence.contains(&known),
        "{sentence}"
    );
    assert!(encrypted.master.heard.lock().unwrap().is_empty());
}

#[test]
fn what_is_remembered_badly_is_never_met_anew() {
    let encrypted = Encrypted::new(1);
    encrypted.connect().unwrap();
    encrypted.master.heard.lock().unwrap().clear();
    fs::write(
        encrypted.pins.path(),
        format!("{} ?\n", encrypted.master.address),
    )
    .unwrap();
    let sentence = refused(encrypted.connect());
    assert!(sentence.contains("known_masters', line 1: "), "{sentence}");
    assert!(encrypted.master.heard.lock().unwrap().is_empty());
    assert_eq!(encrypted.news().len(), 1);
}

#[test]
fn nobody_is_met_who_cannot_be_remembered() {
    let mut encrypted = Encrypted::new(1);
    encrypted.setting.options.trust.pins = None;
    let sentence = refused(encrypted.connect());
    assert!(sentence.contains("no file to remember it in"), "{sentence}");
    assert!(encrypted.master.heard.lock().unwrap().is_empty());
}

#[test]
fn a_slave_with_another_key_than_the_offered_one_hears_nothing() {
    let encrypted = Encrypted::new(2);
    encrypted.slaves[0].change_key();
    let sentence = refused(encrypted.connect());
    assert!(
        sentence.starts_with("the slave shows the key SHA256:"),
        "{sentence}"
    );
    assert!(encrypted.slaves[0].heard.lock().unwrap().is_empty());
    // In the right hands it opens the slave.
    encrypted.offer(|_| None);
    encrypted.connect().unwrap();
    assert!(encrypted.slaves[0].has_heard(&SECRET));
}

#[test]
fn a_certificate_from_a_named_authority_needs_no_memory() {
    let mut encrypted = Encrypted::new(1);
    let (identity, authority) = certified("127.0.0.1", encrypted.setting.folder.path());
    encrypted.setting.options.trust.authorities = Some(Roots::read(&authority).unwrap());
    let stranger = refused(encrypted.connect());
    assert!(
        stranger.contains("certificate is not trusted"),
        "{stranger}"
    );
    encrypted.master = Front::with(identity, encrypted.setting.master.address);
    encrypted.connect().unwrap();
    assert!(encrypted.news().is_empty() && encrypted.remembered().is_empty());
    // The same certificate does not make it any other host.
    let elsewhere = Target {
        host: "localhost".to_owned(),
        port: encrypted.master.address.port(),
    };
    let sentence = refused(
        encrypted
            .setting
            .connect_as(&[elsewhere], Interrupt::default()),
    );
    assert!(
        sentence.contains("certificate is not trusted"),
        "{sentence}"
    );
    // What is remembered counts before any authority.
    let line = format!("{} {}\n", encrypted.master.address, encrypted.slaves[0].key);
    encrypted.pins.add("other:1", Pin::Certified).unwrap();
    fs::write(encrypted.pins.path(), line).unwrap();
    assert!(refused(encrypted.connect()).contains("remove line 1 of"));
}

#[test]
fn a_server_that_had_a_certificate_is_not_taken_without_one() {
    let encrypted = Encrypted::new(1);
    let name = encrypted.master.address.to_string();
    encrypted.pins.add(&name, Pin::Certified).unwrap();
    let sentence = refused(encrypted.connect());
    assert!(sentence.contains("had a certificate"), "{sentence}");
    assert!(encrypted.news().is_empty());
}

#[test]
fn on_this_machine_it_is_clear_unless_the_server_is_known() {
    let mut encrypted = Encrypted::new(1);
    encrypted.setting.options.tls = Encryption::Auto;
    encrypted.offer(|_| None);
    // In clear a front hears no TLS, and the fake behind it nothing.
    assert!(encrypted.connect().is_err());
    encrypted.setting.connect().unwrap_err();
    let name = encrypted.master.address.to_string();
    encrypted
        .pins
        .add(&name, Pin::Key(encrypted.master.key))
        .unwrap();
    assert!(
        encrypted.connect().is_err(),
        "the slaves are still spoken to in clear"
    );
    assert!(!encrypted.master.heard.lock().unwrap().is_empty());
}

#[test]
fn everything_moves_over_tls() {
    let encrypted = Encrypted::new(3);
    let content = content(20 << 20);
    encrypted.setting.storage.put("/a", &content);
    let mut client = encrypted.connect().unwrap();
    encrypted
        .setting
        .get(&mut client, Conflict::Overwrite)
        .unwrap();
    assert_eq!(fs::read(encrypted.setting.local("a")).unwrap(), content);
    encrypted.setting.storage.put("/a", b"");
    encrypted
        .setting
        .put(&mut client, Conflict::Overwrite)
        .unwrap();
    assert_eq!(encrypted.setting.storage.content("/a").unwrap(), content);
}

#[test]
fn a_slave_with_another_key_ends_a_get_from_several() {
    let mut encrypted = Encrypted::new(3);
    encrypted.setting.options.streams = Some(3);
    encrypted.setting.storage.put("/a", &content(40 << 20));
    let mut client = encrypted.connect().unwrap();
    for slave in &encrypted.setting.slaves {
        slave.set(|faults| faults.rest = Duration::from_millis(1));
    }
    encrypted.slaves[2].change_key();
    let got = encrypted.setting.get(&mut client, Conflict::Overwrite);
    assert_eq!(got.unwrap_err().kind(), ClientErrorKind::Identity);
    assert!(encrypted.slaves[2].heard.lock().unwrap().is_empty());
    assert!(!encrypted.setting.local("a").exists());
}

#[test]
fn a_get_goes_on_when_its_slave_is_lost_within_tls() {
    let encrypted = Encrypted::new(2);
    let content = content(20 << 20);
    encrypted.setting.storage.put("/a", &content);
    let mut client = encrypted.connect().unwrap();
    encrypted.setting.slaves[0].set(|faults| faults.die_after_sent = Some(3 << 20));
    encrypted
        .setting
        .get(&mut client, Conflict::Overwrite)
        .unwrap();
    assert_eq!(fs::read(encrypted.setting.local("a")).unwrap(), content);
}

#[test]
fn a_slave_that_hangs_within_tls_is_left_within_five_seconds() {
    let encrypted = Encrypted::new(2);
    let content = content(9 << 20);
    encrypted.setting.storage.put("/a", &content);
    let mut client = encrypted.connect().unwrap();
    let begun = Instant::now();
    encrypted.setting.slaves[0].set(|faults| faults.hang_after_sent = Some(1 << 20));
    encrypted
        .setting
        .get(&mut client, Conflict::Overwrite)
        .unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(fs::read(encrypted.setting.local("a")).unwrap(), content);
}

#[test]
fn whoever_ends_or_answers_in_clear_is_never_spoken_to_in_clear() {
    for answer in [
        &b""[..],
        b"220 mini-ftp ready\r\n",
        b"220 mini-ftp ready\r\n\x89MFTP",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"220 mini-ftp ready\r\n220 again\r\n",
        b"220 mini-ftp ready\r\n\x15\x03\x03\x00\x02\x02\x28",
        &[b'x'; 600],
    ] {
        let encrypted = Encrypted::new(1);
        let (address, heard) = in_clear(answer);
        let result = encrypted.setting.connect_to(&[address]);
        assert_eq!(result.unwrap_err().kind(), ClientErrorKind::NoConnection);
        let heard = heard.lock().unwrap();
        let is_tls = |said: &Vec<u8>| said.is_empty() || said[0] == 0x16;
        assert!(!heard.is_empty() && heard.iter().all(is_tls), "{answer:?}");
    }
}
