//! Which blobs an entry of a place needs, from its documents alone.

use std::collections::{BTreeMap, BTreeSet};

use storekit::oci::Links;
use storekit::{Descriptor, Digest};

use crate::error::Result;
use crate::image::fetch::{Document, Source};

/// Indexes stand in indexes at most this deep, and an image has at most so many documents.
const DEPTH: usize = 4;
const DOCUMENTS: usize = 1000;

/// What hangs on a document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    /// All blobs, the documents among them, with the sizes that are announced.
    pub(crate) blobs: BTreeMap<Digest, u64>,
    /// The documents.
    pub(crate) documents: BTreeSet<Digest>,
    /// What the outermost document refers to.
    pub(crate) subject: Option<Digest>,
}

/// Reads all documents below this one. A document that is not there is an error: what it needs is
/// not known then.
///
/// # Errors
/// Those of the source; an image without an end.
pub(crate) fn reach(source: &dyn Source, root: &Document) -> Result<Reach> {
    let mut reach = Reach::default();
    visit(source, root, 0, &mut reach)?;
    Ok(reach)
}

fn visit(source: &dyn Source, document: &Document, depth: usize, reach: &mut Reach) -> Result<()> {
    let Document { descriptor, bytes } = document;
    reach.blobs.insert(descriptor.digest, descriptor.size);
    if !reach.documents.insert(descriptor.digest) {
        return Ok(());
    }
    if reach.documents.len() > DOCUMENTS || depth > DEPTH {
        return Err(source.untrue("the image has too many documents".to_owned()));
    }
    let odd =
        |error| source.untrue(format!("its document `{}` cannot be understood: {error}", descriptor.digest));
    let links: Links = serde_json::from_slice(bytes).map_err(odd)?;
    if depth == 0 {
        reach.subject = links.subject();
    }
    links.all().try_for_each(|child| below(source, &child, depth, reach))
}

fn below(source: &dyn Source, child: &Descriptor, depth: usize, reach: &mut Reach) -> Result<()> {
    if !child.is_document() {
        // What is to be had elsewhere need not be there.
        if child.urls.is_empty() {
            reach.blobs.insert(child.digest, child.size);
        }
        return Ok(());
    }
    if reach.documents.contains(&child.digest) {
        return Ok(());
    }
    let document = source.document(child)?.ok_or_else(|| source.incomplete(child.digest))?;
    visit(source, &document, depth + 1, reach)
}
