//! A live view at a terminal: a line for each piece of work that runs, with what it does now and
//! for how long, below all that is said.
//!
//! Has no colours, keeps to the terminal's width, and hides nothing of the terminal's: whatever
//! ends the process, the next line is a plain one. Whether there is a terminal is the caller's to
//! know.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use toolkit::words::took;

/// Work that takes less has no line.
const SILENCE: Duration = Duration::from_millis(500);

/// How often the lines are drawn.
const PAUSE: Duration = Duration::from_millis(200);

/// How many lines there are at most.
const MOST: usize = 16;

/// The view, or none.
#[derive(Clone, Debug, Default)]
pub struct Live(Option<Arc<View>>);

#[derive(Debug)]
struct View {
    bars: MultiProgress,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Line>,
    is_over: bool,
}

#[derive(Debug)]
struct Line {
    name: String,
    step: String,
    started: Instant,
    bar: Option<ProgressBar>,
}

/// Draws the view until it is dropped.
#[must_use = "the view ends when this is dropped"]
pub(crate) struct Drawn {
    pub(crate) live: Live,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Begins to draw at stderr, with the names `width` characters wide.
    pub(crate) fn draw(width: usize) -> Drawn {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let view = Arc::new(View { bars, state: Mutex::default(), changed: Condvar::new() });
        let drawing = Arc::clone(&view);
        let thread = std::thread::Builder::new().name("live view".into());
        // Without a thread there are no lines.
        let thread = thread.spawn(move || drawing.run(width)).ok();
        Drawn { live: Self(Some(view)), thread }
    }

    /// Whether something is drawn, so that nothing else may write to the terminal by itself.
    pub(crate) fn is_shown(&self) -> bool {
        self.0.is_some()
    }

    /// Writes something else to the terminal: above the lines.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(view) => view.bars.suspend(write),
            None => write(),
        }
    }

    /// Work of this name begins.
    pub(crate) fn begin(&self, name: &str) {
        if let Some(view) = &self.0 {
            let (name, step) = (name.to_owned(), String::new());
            view.state().lines.push_back(Line { name, step, started: Instant::now(), bar: None });
        }
    }

    /// What it does now.
    pub(crate) fn step(&self, name: &str, step: &str) {
        let mut state = self.0.as_ref().map(|view| view.state());
        let lines = state.iter_mut().flat_map(|state| state.lines.iter_mut());
        lines.filter(|line| line.name == name).for_each(|line| step.clone_into(&mut line.step));
    }

    /// It has ended.
    pub(crate) fn end(&self, name: &str) {
        if let Some(view) = &self.0 {
            let mut state = view.state();
            let ended = state.lines.iter().position(|line| line.name == name);
            if let Some(line) = ended.and_then(|at| state.lines.remove(at)) {
                view.clear(&line);
            }
        }
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        let Some(view) = &self.live.0 else { return };
        view.state().is_over = true;
        view.changed.notify_all();
        // It has no way to fail but a panic, which has been shown.
        let _ = self.thread.take().map(JoinHandle::join);
        view.state().lines.drain(..).for_each(|line| view.clear(&line));
    }
}

impl View {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, width: usize) {
        let mut state = self.state();
        while !state.is_over {
            self.redraw(&mut state, width);
            let waited = self.changed.wait_timeout(state, PAUSE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn redraw(&self, state: &mut State, width: usize) {
        let late = state.lines.iter_mut().filter(|line| line.started.elapsed() >= SILENCE);
        for line in late.take(MOST) {
            let text = line.text(width);
            line.bar.get_or_insert_with(|| self.bars.add(plain_bar())).set_message(text);
        }
    }

    fn clear(&self, line: &Line) {
        if let Some(bar) = &line.bar {
            bar.finish_and_clear();
            self.bars.remove(bar);
        }
    }
}

fn plain_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new_spinner().with_style(style)
}

impl Line {
    fn text(&self, width: usize) -> String {
        let Self { name, step, .. } = self;
        format!("{name:width$}  {:>7}  {step}", took(self.started.elapsed().as_secs_f64().floor()))
    }
}

/// The step of a build that begins with this line of its output, if one does: as `BuildKit`, the
/// builder before it and podman print it, without what a terminal would obey.
pub(crate) fn step_of(line: &str) -> Option<String> {
    let step = match line.strip_prefix('#') {
        Some(numbered) => of_buildkit(numbered)?,
        None => of_others(line)?,
    };
    let step: String = step.trim().chars().filter(|c| !c.is_control()).collect();
    step.starts_with('[').then_some(step)
}

fn of_buildkit(numbered: &str) -> Option<String> {
    Some(numbered.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(' ')?.to_owned())
}

/// `Step 2/3 : …`; of podman `STEP 2/3: …`, with several stages `[1/2] STEP 2/3: …`.
fn of_others(line: &str) -> Option<String> {
    let stage = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    let rest = stage.map_or(line, |(_, rest)| rest);
    let rest = rest.strip_prefix("STEP ").or_else(|| rest.strip_prefix("Step "))?;
    let (number, what) = rest.split_once(':')?;
    let stage = stage.map(|(stage, _)| format!("[{stage}] ")).unwrap_or_default();
    Some(format!("{stage}[{}] {}", number.trim(), what.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_of_each_builder_are_known() {
        for (line, step) in [
            ("#7 [2/3] RUN make -j4\n", Some("[2/3] RUN make -j4")),
            ("#12 [build 2/3] COPY . /src\n", Some("[build 2/3] COPY . /src")),
            ("#7 0.345 [info] it compiles\n", None),
            ("#7 DONE 0.3s\n", None),
            ("Step 2/3 : RUN \u{1b}[31mmake\n", Some("[2/3] RUN [31mmake")),
            ("STEP 2/3: RUN make\n", Some("[2/3] RUN make")),
            ("[1/2] STEP 2/3: RUN make\n", Some("[1/2] [2/3] RUN make")),
            ("[warn] a compiler's own\n", None),
            ("plain\n", None),
        ] {
            assert_eq!(step_of(line).as_deref(), step, "{line}");
        }
    }

    #[test]
    fn a_line_tells_name_time_and_step() {
        let line =
            Line { name: "app".into(), step: "[1/2] RUN x".into(), started: Instant::now(), bar: None };
        assert_eq!(line.text(6), "app         0 s  [1/2] RUN x");
    }

    #[test]
    fn without_a_view_all_is_as_before() {
        let live = Live::default();
        live.begin("app");
        live.step("app", "x");
        live.end("app");
        assert!(!live.is_shown() && live.aside(|| true));
    }
}
