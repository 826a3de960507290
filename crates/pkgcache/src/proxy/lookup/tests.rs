//! Requests that look into the store as a fetch ends.

use super::*;
use crate::outside::tests::Nobody;
use crate::response::flight::Stage;
use http::Uri;
use http::header::CACHE_CONTROL;
use storekit::Store;

/// Stores a response, as a fetch does that ends.
fn store(cache: &Cache, key: &PackageKey, body: &[u8], lifetime: i64) -> Shelved {
    let mut writer = cache.shelf.begin().unwrap();
    writer.write(body).unwrap();
    let lease = writer.finish(None).unwrap();
    let times = Times { requested: cache::now(), received: cache::now() };
    let field = HeaderValue::from_str(&format!("max-age={lifetime}")).unwrap();
    let headers = HeaderMap::from_iter([(CACHE_CONTROL, field)]);
    let answer = Answer::new(StatusCode::OK, &headers, &HeaderMap::new(), times);
    let response = answer.to_stored(lease.digest(), lease.size());
    cache.shelf.change(key, &[lease], |entry| entry.responses = vec![response]).unwrap();
    cache.shelf.find(key).unwrap().responses.first().unwrap().clone()
}

#[tokio::test]
async fn a_request_whose_fetch_ends_as_it_looks_begins_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let folder = camino::Utf8Path::from_path(dir.path()).unwrap();
    let packages = Store::open_or_create(folder).unwrap();
    let cache = Arc::new(Cache::new(Config::default(), packages, Arc::new(Nobody)).unwrap());
    // Nobody listens there: whatever is asked for comes to nothing.
    let url = Uri::from_static("http://127.0.0.1:1/b");
    let key = PackageKey::new("generic", "127.0.0.1:1", url.to_string(), None);
    let lookup = Lookup {
        method: Method::GET,
        headers: HeaderMap::new(),
        target: Target { source: "127.0.0.1:1".to_owned(), url, ..Target::default() },
        package: Package::default(),
        ruling: Ruling::default(),
        key: key.clone(),
        config: cache.config(),
        wire: None,
    };
    let asked = |boarding: &Boarding| !matches!(boarding.flight.stage(), Stage::Stored { .. });

    // It saw nothing, and there is something now.
    let first = store(&cache, &key, b"first", 60);
    let boarding = lookup.fetch(&cache, None, None);
    assert!(!asked(&boarding) && cache.flights.count() == 0);
    let handled = lookup.await_flight(&cache, boarding, Forward::UriMiss, None).await;
    assert!(matches!(&handled, Handled::Answered(it, meter::Result::Hit) if it.status() == StatusCode::OK));

    // The same of a part, for which the whole is not fetched.
    let mut part = lookup.clone();
    part.headers.insert(RANGE, HeaderValue::from_static("bytes=0-1"));
    let handled = part.miss(&cache, &Wishes::default(), Forward::UriMiss, None).await;
    let is_part = |it: &Response<Body>| it.status() == StatusCode::PARTIAL_CONTENT;
    assert!(matches!(&handled, Handled::Answered(it, meter::Result::Hit) if is_part(it)));
    let handled = part.miss(&cache, &Wishes::default(), Forward::UriMiss, Some(&first)).await;
    assert!(matches!(handled, Handled::Forward(_)));

    // It saw just this, which was of no use.
    assert!(asked(&lookup.fetch(&cache, None, Some(&first))));
    cache.flights.landed().await;

    // It asks about that, and there is a newer one.
    let second = store(&cache, &key, b"second", 60);
    assert!(!asked(&lookup.fetch(&cache, Some(&first), Some(&first))));
    assert!(asked(&lookup.fetch(&cache, Some(&second), Some(&second))));
    cache.flights.landed().await;

    // The newer one may not be handed on without a question either.
    store(&cache, &key, b"third", 0);
    assert!(asked(&lookup.fetch(&cache, Some(&second), Some(&second))));
    cache.flights.landed().await;
}
