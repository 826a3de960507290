//! Builds of images whose package clients are to come through the cache, without a change of their
//! Dockerfile and without a trace in the image.

use crate::clients::apt;

pub mod command;
pub mod context;
pub mod dockerfile;
mod instructions;
pub mod intercepted;
mod shell;

pub use shell::{Models, Vendor};

/// Who builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// docker with BuildKit.
    BuildKit,
    /// docker's builder of old.
    Classic,
    /// podman, or buildah.
    Podman,
}

/// Where steps of a build find the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doors {
    /// The cache itself: `http://HOST:PORT`.
    pub proxy: String,
    /// The hosts for which apt is to use it as its proxy.
    pub apt: Vec<String>,
    /// Whether dnf is to use it as its proxy.
    pub dnf: bool,
    /// The URL of a simple index.
    pub python: Option<String>,
    /// The URL of an npm registry.
    pub npm: Option<String>,
    /// The host that npm is to replace in URLs of tarballs by that registry's.
    pub npm_host: Option<String>,
    /// The URL of a sparse index, without `sparse+`.
    pub cargo: Option<String>,
    /// Go's list of proxies.
    pub go: Option<String>,
    /// The URL of a hub of models, without a `/` at its end.
    pub huggingface: Option<String>,
    /// Vendors' indexes of wheels.
    pub vendors: Vec<Vendor>,
    /// Where Ollama finds its models.
    pub ollama: Option<Models>,
    /// The authorities that clients have to trust, as PEM, where hosts are intercepted.
    pub authorities: Option<String>,
}

impl Engine {
    fn mounts(self) -> bool {
        self != Self::Classic
    }
}

impl Doors {
    fn apt_conf(&self) -> Option<String> {
        let trust = self.authorities.as_ref().map(|_| intercepted::apt(intercepted::AUTHORITIES));
        let text = apt::led(&self.apt, &self.proxy) + &trust.unwrap_or_default();
        Some(text).filter(|text| !text.is_empty())
    }

    fn pip_conf(&self) -> Option<String> {
        self.python.as_ref().map(|url| format!("[global]\nindex-url = {url}\n"))
    }

    fn npmrc(&self) -> Option<String> {
        let host = self.npm_host.as_ref();
        let replaces = host.map(|host| format!("replace-registry-host={host}\n")).unwrap_or_default();
        self.npm.as_ref().map(|url| format!("registry={url}\n{replaces}"))
    }

    fn cargo_config(&self) -> Option<String> {
        let url = self.cargo.as_ref()?;
        Some(format!(
            "[source.crates-io]\nreplace-with = \"larder\"\n\n[source.larder]\nregistry = \"sparse+{url}\"\n"
        ))
    }

    fn uv_toml(&self) -> Option<String> {
        self.python.as_ref().map(|url| format!("[[index]]\nurl = \"{url}\"\ndefault = true\n"))
    }

    /// Variables for clients that have them.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let npm_host = if self.npm.is_some() { &self.npm_host } else { &None };
        let pairs = [
            ("PIP_INDEX_URL", &self.python),
            ("npm_config_registry", &self.npm),
            ("npm_config_replace_registry_host", npm_host),
            ("GOPROXY", &self.go),
            ("HF_ENDPOINT", &self.huggingface),
        ];
        pairs.into_iter().filter_map(|(name, url)| Some((name, url.clone()?))).collect()
    }

    /// The build arguments that every builder knows, and keeps out of the image.
    fn proxy(&self) -> Vec<(&'static str, String)> {
        let pairs = [("http_proxy", self.proxy.clone()), ("no_proxy", "127.0.0.1,localhost".to_owned())];
        if self.dnf { pairs.into() } else { Vec::new() }
    }
}
