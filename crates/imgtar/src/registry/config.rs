//! What is set of how registries are asked.

use super::auth::credentials::Credentials;
use super::proxy::Proxies;
use super::retry::Patience;
use super::transport::Waits;

/// How registries are spoken with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The certificates that are trusted, DER.
    pub roots: Vec<Vec<u8>>,
    /// Where proxies stand.
    pub proxies: Proxies,
    /// Where credentials are.
    pub credentials: Credentials,
    /// Hosts (`auth.example`, `auth.example:8443`) that hand out tokens and may see a registry's
    /// password.
    pub realms: Vec<String>,
    /// Whether the registry is asked without TLS. Not needed for a registry on this machine.
    pub plain_http: bool,
    /// How many blobs move at once; 0 counts as 1.
    pub parallel: usize,
    /// How long it is waited.
    pub patience: Patience,
    /// How long slow answers were waited for.
    pub waits: Waits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            roots: Vec::new(),
            proxies: Proxies::default(),
            credentials: Credentials::default(),
            realms: Vec::new(),
            plain_http: false,
            parallel: 4,
            patience: Patience::default(),
            waits: Waits::default(),
        }
    }
}
