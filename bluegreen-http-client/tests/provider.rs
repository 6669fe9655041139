//! Who chooses the crypto provider. A file of its own, because it is about the state of a process.
#![allow(clippy::unwrap_used, reason = "tests")]

use bluegreen_core::ErrorKind;
use bluegreen_http_client::Client;
use rustls::crypto::CryptoProvider;

#[test]
fn the_programs_provider_is_used_and_without_one_it_is_ring_if_that_is_enabled_and_none_is_installed() {
    Client::builder().https(false).build().unwrap();
    let built = Client::builder().build();
    assert_eq!(built.is_ok(), cfg!(feature = "ring"));
    if let Err(error) = built {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("`CryptoProvider::install_default`"), "{error}");
    }
    assert!(CryptoProvider::get_default().is_none(), "the choice is the program's");
    rustls::crypto::ring::default_provider().install_default().unwrap();
    Client::builder().build().unwrap();
}
