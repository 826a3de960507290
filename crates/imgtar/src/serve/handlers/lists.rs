//! Lists: the tags of a repository, the repositories, the documents that refer to one.
//!
//! Source: OCI distribution-spec v1.1, "Listing tags", "Listing referrers"; `_catalog` as Docker's
//! registry has it.

use http::header::{self, HeaderName};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use storekit::Digest;

use crate::engine::http1::escaped;
use crate::format::oci::INDEX;
use crate::serve::answer::{self, ResponseBody};
use crate::serve::fault::{Fault, Result};
use crate::serve::names::Repository;
use crate::serve::route::Query;
use crate::serve::state::app::App;
use crate::serve::stored_manifest::Doc;

const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

/// No list of referrers is larger than what clients read: 4 MiB.
const REFERRERS_CAP: usize = 4 << 20;

/// The tags of a repository, sorted.
///
/// # Errors
/// [`Fault::name_unknown`].
pub(crate) fn tags(app: &App, repository: &Repository, query: &Query) -> Result<Response<ResponseBody>> {
    let stock = app.stocks.now()?;
    let tags = stock.tags(repository).ok_or_else(|| Fault::name_unknown(repository.as_str()))?;
    let page = Page::of(tags, query)?;
    let path = format!("/v2/{repository}/tags/list");
    Ok(page.answer(&path, &json!({ "name": repository.as_str(), "tags": page.items })))
}

/// The repositories, sorted.
///
/// # Errors
/// A page's size that is not a number.
pub(crate) fn catalog(app: &App, query: &Query) -> Result<Response<ResponseBody>> {
    let stock = app.stocks.now()?;
    let page = Page::of(stock.repositories(), query)?;
    Ok(page.answer("/v2/_catalog", &json!({ "repositories": page.items })))
}

struct Page<'a> {
    items: Vec<&'a str>,
    wanted: Option<usize>,
    is_last: bool,
}

impl<'a> Page<'a> {
    fn of(items: impl Iterator<Item = &'a str>, query: &Query) -> Result<Self> {
        let wanted = query
            .get("n")
            .map(|n| n.parse().map_err(|_| Fault::bad_request("`n` is not a number")))
            .transpose()?;
        let last = query.get("last").filter(|last| !last.is_empty());
        let mut items = items.filter(|item| last.is_none_or(|last| *item > last));
        let page: Vec<_> = items.by_ref().take(wanted.unwrap_or(usize::MAX)).collect();
        let is_last = wanted == Some(0) || items.next().is_none();
        Ok(Self { items: page, wanted, is_last })
    }

    fn answer(&self, path: &str, document: &Value) -> Response<ResponseBody> {
        let response = answer::json(StatusCode::OK, document);
        let (Some(last), Some(wanted), false) = (self.items.last(), self.wanted, self.is_last) else {
            return response;
        };
        let next = format!("<{path}?n={wanted}&last={}>; rel=\"next\"", escaped(last, "/"));
        answer::with(response, header::LINK, &next)
    }
}

/// The documents whose subject this is, as an index. More than fit into one answer are given page
/// by page.
pub(crate) fn referrers(
    app: &App,
    path: &str,
    subject: &Digest,
    query: &Query,
) -> Result<Response<ResponseBody>> {
    let stock = app.stocks.now()?;
    let wanted = query.get("artifactType").filter(|wanted| !wanted.is_empty());
    let last = query.digest("last")?;
    let mut manifests = Vec::new();
    let (mut size, mut next) = (0, None);
    let fits = |doc: &&std::sync::Arc<Doc>| {
        last.is_none_or(|last| doc.descriptor.digest > last)
            && wanted.is_none_or(|wanted| doc.artifact_type.as_deref() == Some(wanted))
    };
    for doc in stock.referrers(subject).filter(fits) {
        let one = described(doc);
        size += one.to_string().len();
        if size > REFERRERS_CAP && !manifests.is_empty() {
            break;
        }
        next = Some(doc.descriptor.digest);
        manifests.push(one);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    let mut response = answer::with(answer::json(StatusCode::OK, &index), header::CONTENT_TYPE, INDEX);
    if wanted.is_some() {
        response = answer::with(response, FILTERS, "artifactType");
    }
    if let (true, Some(next)) = (size > REFERRERS_CAP, next) {
        let filter =
            wanted.map(|wanted| format!("&artifactType={}", escaped(wanted, "/"))).unwrap_or_default();
        let next = escaped(&next.to_string(), "/");
        response =
            answer::with(response, header::LINK, &format!("<{path}?last={next}{filter}>; rel=\"next\""));
    }
    Ok(response)
}

fn described(doc: &Doc) -> Value {
    let public = doc.public();
    let mut described =
        json!({ "mediaType": public.media_type, "digest": public.digest, "size": public.size });
    if let Some(fields) = described.as_object_mut() {
        fields.extend(doc.artifact_type.clone().map(|kind| ("artifactType".to_owned(), kind.into())));
        if !doc.annotations.is_empty() {
            fields.insert("annotations".to_owned(), json!(doc.annotations));
        }
    }
    described
}
