//! The progress bar: only where stderr is a terminal, and only once the work has taken half a
//! second.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use imgtar::progress::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const SILENCE: Duration = Duration::from_millis(500);

pub(crate) struct Bar {
    drawn: ProgressBar,
    started: Instant,
    visible: bool,
}

impl Bar {
    pub(crate) fn new(quiet: bool) -> Self {
        let visible = !quiet && std::io::stderr().is_terminal();
        let drawn = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Self { drawn, started: Instant::now(), visible }
    }

    fn show(&self) {
        if self.visible && self.drawn.is_hidden() && self.started.elapsed() > SILENCE {
            let known = self.drawn.length().is_some();
            let template = if known {
                "{wide_bar} {decimal_bytes}/{decimal_total_bytes} {eta}"
            } else {
                "{decimal_bytes} {decimal_bytes_per_sec}"
            };
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            self.drawn.set_style(style);
            self.drawn.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Progress for Bar {
    fn expect(&self, bytes: u64) {
        self.drawn.set_length(bytes);
    }

    fn add(&self, bytes: u64) {
        self.show();
        self.drawn.inc(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.drawn.finish_and_clear();
    }
}
