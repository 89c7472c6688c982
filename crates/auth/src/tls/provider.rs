//! Whose cryptography TLS uses. Named here, so that it is the same whatever else is linked in.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs, ring};
use rustls::{CipherSuite, SupportedCipherSuite};

/// aws-lc-rs, for its key exchange that quantum computers do not break; its ciphers or ring's, whichever this processor runs
/// faster. Either speaks the same ones.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    let suites = if ring_is_faster() {
        ring::ALL_CIPHER_SUITES
    } else {
        aws_lc_rs::ALL_CIPHER_SUITES
    };
    provider.cipher_suites = in_order(suites);
    Arc::new(provider)
}

/// The cipher with ten rounds is preferred to that with fourteen: nobody breaks either, and content passes through twice.
fn in_order(suites: &[SupportedCipherSuite]) -> Vec<SupportedCipherSuite> {
    let mut suites = suites.to_vec();
    suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    suites
}

/// Whether the processor has AES for vectors of 256 bits, which ring knows and aws-lc does not (5.5 and 2.9 GiB/s), and none
/// for 512 bits, which aws-lc knows and ring does not.
#[cfg(target_arch = "x86_64")]
fn ring_is_faster() -> bool {
    is_x86_feature_detected!("vaes")
        && is_x86_feature_detected!("vpclmulqdq")
        && !is_x86_feature_detected!("avx512f")
}

#[cfg(not(target_arch = "x86_64"))]
fn ring_is_faster() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_does_not_depend_on_the_processor() {
        let names = |suites| {
            in_order(suites)
                .iter()
                .map(|suite| suite.suite())
                .collect::<Vec<_>>()
        };
        let offered = names(ring::ALL_CIPHER_SUITES);
        assert_eq!(offered, names(aws_lc_rs::ALL_CIPHER_SUITES));
        assert_eq!(
            offered.first(),
            Some(&CipherSuite::TLS13_AES_128_GCM_SHA256)
        );
    }
}
