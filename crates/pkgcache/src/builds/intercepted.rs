//! What leads a command, or a step of a build, to a cache that intercepts hosts: the cache as the
//! proxy for https, and its authority among those that clients trust. It is all in variables, and
//! in files that these name.

use std::fmt::Write;

/// Variables by which clients are told which authorities they trust: all of them take a file that
/// has the system's, too.
pub const TRUST: [&str; 9] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "DENO_CERT",
];
/// By this wget, which knows no such variable, finds a settings file.
pub const WGETRC: &str = "WGETRC";
/// Those for the proxy.
pub const PROXY: [&str; 2] = ["https_proxy", "HTTPS_PROXY"];
/// Those for what goes past it: the cache itself, and what a command serves to itself.
pub const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// Where a step finds the authorities, wget's settings, and what its shell is told.
pub(super) const AUTHORITIES: &str = "/etc/larder-authorities.pem";
pub(super) const WGET: &str = "/etc/larder-wgetrc";
pub(super) const TOLD: &str = "/etc/larder-intercept";

/// What wget is told of the file with the authorities.
#[must_use]
pub fn wgetrc(authorities: &str) -> String {
    format!("ca_certificate = {authorities}\n")
}

/// What apt is told of it.
#[must_use]
pub fn apt(authorities: &str) -> String {
    format!("Acquire::https::CaInfo \"{authorities}\";\n")
}

/// What the shell of a step is told. Authorities that the image itself names stand.
#[must_use]
pub(super) fn shell(proxy: &str) -> String {
    let mut text = String::new();
    for name in PROXY {
        let _ = writeln!(text, "export {name}={proxy}");
    }
    for name in NO_PROXY {
        let _ = writeln!(text, "export {name}=\"${{{name}:+${name},}}127.0.0.1,localhost\"");
    }
    for (name, file) in TRUST.map(|name| (name, AUTHORITIES)).into_iter().chain([(WGETRC, WGET)]) {
        let _ = writeln!(text, "export {name}=\"${{{name}:-{file}}}\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_knows_the_proxy_and_keeps_what_the_image_says() {
        let line = format!("{} env", shell("http://127.0.0.1:1"));
        let mut sh = std::process::Command::new("sh");
        let own = [("PATH", "/usr/bin:/bin"), ("no_proxy", "own.example"), ("PIP_CERT", "/own.pem")];
        let ran = sh.args(["-c", &line]).env_clear().envs(own).output().unwrap();
        let said = String::from_utf8(ran.stdout).unwrap();
        for line in [
            "https_proxy=http://127.0.0.1:1",
            "HTTPS_PROXY=http://127.0.0.1:1",
            "no_proxy=own.example,127.0.0.1,localhost",
            "NO_PROXY=127.0.0.1,localhost",
            "PIP_CERT=/own.pem",
            "SSL_CERT_FILE=/etc/larder-authorities.pem",
            "WGETRC=/etc/larder-wgetrc",
        ] {
            assert!(said.lines().any(|it| it == line), "{line}: {said}");
        }
    }
}
