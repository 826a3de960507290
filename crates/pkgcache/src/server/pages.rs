//! Which paths are this program's own.

use http::Uri;

use crate::config::Config;

pub(super) const HEALTH: &str = "/healthz";
pub(super) const METRICS: &str = "/metrics";
const STATUS: &str = "/status";
pub(super) const STATUS_JSON: &str = "/status.json";

/// Whether this is asked of the program itself.
pub(crate) fn is_own(config: &Config, url: &Uri) -> bool {
    url.authority().is_none()
        && match url.path() {
            HEALTH | METRICS | STATUS | STATUS_JSON => true,
            // An upstream that is mounted there has pages of its own.
            "/" => config.upstreams.iter().all(|it| !it.name.is_empty()),
            _ => false,
        }
}
