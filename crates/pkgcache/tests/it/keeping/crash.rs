//! SIGKILL at any moment, under load: afterwards no wrong byte is ever handed on.
//!
//! `LARDER_KILLS` says how often (default 12).

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use larder_tests::http::get;

use crate::support::{Origin, Proxy, answer};

const PATHS: usize = 40;

/// The bytes that belong to a path: enough for several reads.
fn body(path: &str) -> Vec<u8> {
    let number: usize = path.trim_start_matches('/').parse().unwrap_or(0);
    path.bytes().cycle().take(1000 + number * 17_011).collect()
}

#[test]
fn no_wrong_byte_after_a_kill() {
    let origin = Origin::new(|seen, stream| {
        let cache = if seen.path.len().is_multiple_of(2) { "max-age=60" } else { "no-cache" };
        let whole =
            answer(200, &format!("cache-control: {cache}\netag: \"{}\"", seen.path), &body(&seen.path));
        for piece in whole.chunks(60_000) {
            if stream.write_all(piece).is_err() {
                return;
            }
            // A slow network, so that there is a middle to be killed in.
            thread::sleep(Duration::from_millis(1));
        }
    });
    let args = ["--upstream".to_owned(), format!("/={}", origin.url())];
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let kills = std::env::var("LARDER_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let mut proxy = Proxy::with(&args);
    for kill in 0..kills {
        under_load(&mut proxy, Duration::from_millis(5 + (kill * 37) % 120));
        proxy = proxy.again(&args);
        for path in (0..PATHS).step_by(7).map(|number| format!("/{number}")) {
            let found = proxy.get(&path);
            assert!(
                found.whole && found.status == 200 && found.body == body(&path),
                "{path} after kill {kill}"
            );
        }
    }
    proxy.command(&["verify"]).ok();
}

/// Kills it after `time` of requests; whatever came whole until then was right.
fn under_load(proxy: &mut Proxy, time: Duration) {
    let (over, address) = (AtomicBool::new(false), proxy.authority().to_owned());
    thread::scope(|scope| {
        for client in 0..4_usize {
            let (over, address) = (&over, &address);
            scope.spawn(move || {
                for number in (0..).map(|step: usize| (client * 11 + step * 7) % PATHS) {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let path = format!("/{number}");
                    let Ok(found) = get(address, &path) else { return };
                    if found.whole && found.status == 200 {
                        assert!(found.body == body(&path), "{path}");
                    }
                }
            });
        }
        // Any moment may be the bad one: no event tells of it.
        thread::sleep(time);
        proxy.kill();
        over.store(true, Ordering::Relaxed);
    });
}
