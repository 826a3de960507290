//! Who signs what is saved: `sign`, and LARDER_SIGNING_KEY.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use camino::Utf8Path;
use imgtar::Error;
use imgtar::image::commit::Notes;
use imgtar::image::signature::Signer;
use miette::Result;
use storekit::KeyOrName;
use toolkit::Outcome;

use crate::cli::NoteArgs;
use crate::cli::run::{Invocation, read_notes};

/// The variable that is a private key in PEM, or the path of one.
const VARIABLE: &str = "LARDER_SIGNING_KEY";

impl Invocation<'_> {
    /// What is to be noted with an image that is made here: signed, where there is who signs.
    pub(crate) fn noted(&self, args: NoteArgs) -> Result<Notes> {
        let notes = read_notes(args)?;
        Ok(Notes { signer: self.signer()?.map(Arc::new), ..notes })
    }

    pub(crate) fn sign(&self, texts: &[KeyOrName]) -> Result<Outcome> {
        let Some(signer) = self.signer()? else {
            let message = format!("{VARIABLE} is not set");
            let help = "it is a private key of Ed25519 in PEM, or the path of one: `openssl genpkey -algorithm ed25519` makes one";
            return Err(Error::Usage { message, help }.into());
        };
        let mut all = true;
        for text in texts {
            let Some((store, key)) = self.find(text)? else {
                self.absent(text);
                all = false;
                continue;
            };
            if signer.sign_stored(&store.images(), &key)? {
                self.view.say(&format!("signed {key} with {}", signer.public()));
            } else {
                self.absent(text);
                all = false;
            }
        }
        Ok(Outcome::from_bool(all))
    }

    fn signer(&self) -> Result<Option<Signer>, Error> {
        let Some(text) = self.settings.environment().get(VARIABLE) else { return Ok(None) };
        let signer = if text.contains("-----BEGIN") {
            Signer::from_pem(text)
        } else {
            read_key(Utf8Path::new(text)).and_then(|text| Signer::from_pem(&text))
        };
        signer.map(Some).map_err(|reason| {
            let message = format!("{VARIABLE} cannot be used: {reason}");
            Error::Usage { message, help: "`openssl genpkey -algorithm ed25519 -out FILE` makes one" }
        })
    }
}

/// A file of a key, at most 64 KiB.
pub(crate) fn read_key(path: &Utf8Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(64 << 10).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}
