//! Fields that belong to one connection, and are neither passed on nor stored. Source: RFC 9110,
//! 7.6.1; RFC 9111, 3.1.

use http::HeaderMap;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

use super::{joined, members};

/// Takes them off.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named = joined(headers, CONNECTION).unwrap_or_default();
    for name in members(&named) {
        headers.remove(name);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        // A sender of both meant the coding (RFC 9112, 6.3).
        headers.remove(CONTENT_LENGTH);
    }
    for name in [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE]
    {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "proxy-authentication-info"] {
        headers.remove(HeaderName::from_static(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::fields::tests::headers;

    #[test]
    fn what_belongs_to_the_connection_goes() {
        let mut found = headers(
            "connection: a, B\na: 1\nb: 2\nc: 3\nte: x\nkeep-alive: 1\nupgrade: h2c\nconnection: ü, c d",
        );
        strip(&mut found);
        assert_eq!(found, headers("c: 3"));
        let mut found = headers("content-length: 3\ntransfer-encoding: chunked\nc: 3");
        strip(&mut found);
        assert_eq!(found, headers("c: 3"));
    }
}
