//! From a request to its handler, and from what that returns to the response.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use http::{Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::json;

use crate::serve::answer::{self, ResponseBody};
use crate::serve::fault::{Fault, Result};
use crate::serve::handlers::manifests::{self, Wanted};
use crate::serve::handlers::{blobs, lists, uploads};
use crate::serve::route::{Query, Route};
use crate::serve::state::app::App;

/// Answers a request. Never fails: what goes wrong is an answer too.
pub(crate) async fn answer(
    app: Arc<App>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let begun = Instant::now();
    let is_head = request.method() == Method::HEAD;
    let line = format!("{} {}", request.method(), request.uri());
    let agent = request.headers().get(http::header::USER_AGENT).cloned();
    let response = handle(&app, request).await.unwrap_or_else(|fault| {
        if let Some(cause) = fault.to_log() {
            app.trouble(&format!("{line}: {cause}"));
        }
        fault.into_response()
    });
    let agent = agent.as_ref().and_then(|agent| agent.to_str().ok()).unwrap_or("-");
    app.request(&format!("{line} {} {} ms {agent}", response.status().as_u16(), begun.elapsed().as_millis()));
    Ok(answer::finished(response, is_head))
}

async fn handle(app: &Arc<App>, request: Request<Incoming>) -> Result<Response<ResponseBody>> {
    let (parts, body) = request.into_parts();
    app.guard.check(&parts.headers, parts.uri.authority().map(http::uri::Authority::as_str))?;
    let route = Route::parse(parts.uri.path(), &parts.method)?;
    let query = Query::parse(parts.uri.query())?;
    let (method, headers) = (parts.method, parts.headers);
    let is_head = method == Method::HEAD;
    let reads = is_head || method == Method::GET;
    if app.read_only && !reads {
        return Err(Fault::method("GET, HEAD"));
    }
    match route {
        Route::Base if reads => Ok(answer::json(http::StatusCode::OK, &json!({}))),
        Route::Catalog if reads => app.blocking(move |app| lists::catalog(app, &query)).await,
        Route::Tags(repository) if reads => {
            app.blocking(move |app| lists::tags(app, &repository, &query)).await
        }
        Route::Referrers(subject) if reads => {
            let path = parts.uri.path().to_owned();
            app.blocking(move |app| lists::referrers(app, &path, &subject, &query)).await
        }
        Route::Base | Route::Catalog | Route::Tags(_) | Route::Referrers(_) => {
            Err(Fault::method("GET, HEAD"))
        }
        Route::Manifest(repository, reference) => {
            let wanted = Wanted { repository, reference, headers, is_head };
            manifest(app, &method, wanted, query, body).await
        }
        Route::Blob(_, digest) => match method {
            Method::GET => {
                let app_too = Arc::clone(app);
                app.blocking(move |_| blobs::get(&app_too, &digest, &headers)).await
            }
            Method::HEAD => app.blocking(move |app| blobs::head(app, &digest)).await,
            Method::DELETE => app.blocking(move |app| blobs::delete(app, &digest)).await,
            _ => Err(Fault::method("GET, HEAD, DELETE")),
        },
        Route::Uploads(repository) => match method {
            Method::POST => uploads::post(Arc::clone(app), repository, query, &headers, body).await,
            _ => Err(Fault::method("POST")),
        },
        Route::Upload(repository, id) => match method {
            Method::GET => uploads::status(app, &repository, &id),
            Method::PATCH => uploads::patch(Arc::clone(app), repository, id, &headers, body).await,
            Method::PUT => uploads::put(Arc::clone(app), repository, id, query, &headers, body).await,
            Method::DELETE => uploads::cancel(app, &repository, &id),
            _ => Err(Fault::method("GET, PATCH, PUT, DELETE")),
        },
    }
}

async fn manifest(
    app: &Arc<App>,
    method: &Method,
    wanted: Wanted,
    query: Query,
    body: Incoming,
) -> Result<Response<ResponseBody>> {
    match *method {
        Method::GET | Method::HEAD => app.blocking(move |app| manifests::get(app, &wanted)).await,
        Method::DELETE => app.blocking(move |app| manifests::delete(app, &wanted)).await,
        Method::PUT => {
            let bytes = collect(body).await?;
            app.blocking(move |app| manifests::put(app, &wanted, &query, bytes)).await
        }
        _ => Err(Fault::method("GET, HEAD, PUT, DELETE")),
    }
}

/// Reads the body of a manifest, up to the cap.
async fn collect(body: Incoming) -> Result<Vec<u8>> {
    let limited = Limited::new(body, manifests::PUSH_CAP);
    match tokio::time::timeout(uploads::STALL, limited.collect()).await {
        Err(_) => Err(Fault::timed_out()),
        Ok(Ok(collected)) => Ok(collected.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Fault::too_large(format!("a manifest has at most {} bytes", manifests::PUSH_CAP)))
        }
        Ok(Err(_)) => Err(Fault::manifest_invalid("the request's body broke off")),
    }
}
