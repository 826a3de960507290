//! Kinds of package clients.

/// A kind of package client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ecosystem {
    /// Nothing is known.
    #[default]
    Generic,
    /// Debian's package manager.
    Apt,
    /// pip, uv and others.
    Python,
    /// npm, pnpm and yarn.
    Npm,
    /// cargo.
    Cargo,
    /// Container engines.
    Oci,
}

impl Ecosystem {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Apt => "apt",
            Self::Python => "python",
            Self::Npm => "npm",
            Self::Cargo => "cargo",
            Self::Oci => "oci",
        }
    }
}
