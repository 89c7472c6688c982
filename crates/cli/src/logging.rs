//! Logs: one line an event on stderr, whatever a peer put into it.

use std::fmt;
use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::Verbosity;
use crate::display::text;

/// Sends the program's events to stderr from now on. In a process that already does so, nothing changes.
pub fn start_logging(program: &'static str, verbosity: Verbosity) {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(filter(verbosity))
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .event_format(OneLine { program })
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap_or_default();
}

const fn filter(verbosity: Verbosity) -> LevelFilter {
    match verbosity {
        Verbosity::Quiet => LevelFilter::ERROR,
        Verbosity::Normal => LevelFilter::WARN,
        Verbosity::Verbose => LevelFilter::INFO,
        Verbosity::Debug => LevelFilter::TRACE,
    }
}

/// `2026-11-02T10:00:00.000000Z ftpslave[41]: warning: worker died worker=2`
struct OneLine {
    program: &'static str,
}

impl<S, N> FormatEvent<S, N> for OneLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        let (word, colour) = level(*event.metadata().level());
        write!(writer, " {}[{}]: ", self.program, std::process::id())?;
        if writer.has_ansi_escapes() {
            write!(writer, "\x1b[{colour}m{word}\x1b[0m: ")?;
        } else {
            write!(writer, "{word}: ")?;
        }
        for span in context
            .event_scope()
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>();
            let fields = fields
                .map(|fields| fields.fields.as_str())
                .unwrap_or_default();
            write!(writer, "{}{{{}}}: ", span.name(), text(fields))?;
        }
        let mut said = String::new();
        context.format_fields(Writer::new(&mut said), event)?;
        writeln!(writer, "{}", text(&said))
    }
}

/// A level's word and its colour (ECMA-48, SGR).
const fn level(level: Level) -> (&'static str, u8) {
    match level {
        Level::ERROR => ("error", 31),
        Level::WARN => ("warning", 33),
        Level::INFO => ("info", 32),
        Level::DEBUG => ("debug", 34),
        Level::TRACE => ("trace", 35),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing::{info, info_span, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(ansi: bool, events: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(ansi)
            .with_writer(move || writer.clone())
            .event_format(OneLine { program: "ftptest" })
            .finish();
        tracing::subscriber::with_default(subscriber, events);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn hostile_names_stay_on_their_line() {
        let hostile = "a\nforged: line\u{1b}[2J\u{202e}\"";
        let log = logged(false, || {
            let span = info_span!("session", peer = hostile);
            span.in_scope(|| warn!(name = %hostile, "cannot open '{hostile}'"));
            info!("{hostile}");
        });
        assert_eq!(log.lines().count(), 2, "{log}");
        assert!(
            !log.replace('\n', "").chars().any(char::is_control),
            "{log:?}"
        );
        assert!(log.contains("ftptest["), "{log}");
        assert!(log.contains("warning: session{"), "{log}");
    }

    #[test]
    fn only_a_terminal_sees_colours() {
        assert!(logged(true, || warn!("x")).contains("\u{1b}[33mwarning\u{1b}[0m: x"));
        assert!(!logged(false, || warn!("x")).contains('\u{1b}'));
    }
}
