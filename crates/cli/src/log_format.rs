//! How an event becomes one line, for people or for programs, whatever a peer put into it.

use std::error::Error;
use std::fmt::{self, Debug};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::display::text;
use crate::json::json_line;

/// `2026-11-02T10:00:00.000000Z ftpslave[41]: warning: worker died worker=2`
pub(crate) struct TextLine {
    pub(crate) program: &'static str,
}

impl<S, N> FormatEvent<S, N> for TextLine
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
        for span in spans(context) {
            write!(writer, "{}: ", text(&span))?;
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

/// `{"time":"2026-11-02T10:00:00.000000Z","level":"warning","program":"ftpslave","pid":41,"message":"worker died","fields":{"worker":2}}`
pub(crate) struct JsonLine {
    pub(crate) program: &'static str,
}

#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    level: &'static str,
    program: &'static str,
    pid: u32,
    message: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    spans: Vec<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
}

impl<S, N> FormatEvent<S, N> for JsonLine
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
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let (level, _) = level(*event.metadata().level());
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let line = Line {
            time: &time,
            level,
            program: self.program,
            pid: std::process::id(),
            message: fields.0.remove("message").unwrap_or_default(),
            spans: spans(context),
            fields: fields.0,
        };
        writeln!(writer, "{}", json_line(&line).map_err(|_| fmt::Error)?)
    }
}

/// The fields of an event, as JSON values.
struct Fields(Map<String, Value>);

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field, value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format!("{value:?}"));
    }
}

/// Within what an event happened, outermost first: `session{peer=10.0.0.1}`.
fn spans<S, N>(context: &FmtContext<'_, S, N>) -> Vec<String>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let scope = context.event_scope().into_iter();
    scope
        .flat_map(|scope| scope.from_root())
        .map(|span| {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>();
            let fields = fields.map_or("", |fields| fields.fields.as_str());
            format!("{}{{{fields}}}", span.name())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use tracing::{info, info_span, warn};
    use tracing_subscriber::Registry;
    use tracing_subscriber::fmt::format::DefaultFields;

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
        logged_as(TextLine { program: "ftptest" }, ansi, events)
    }

    fn logged_as<F>(format: F, ansi: bool, events: impl FnOnce()) -> String
    where
        F: FormatEvent<Registry, DefaultFields> + Send + Sync + 'static,
    {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(ansi)
            .with_writer(move || writer.clone())
            .event_format(format)
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

    #[test]
    fn an_object_a_line_says_what_the_event_said() {
        let hostile = "a\nforged\u{1b}[2J\u{202e}\"";
        let log = logged_as(JsonLine { program: "ftptest" }, false, || {
            let span = info_span!("session", peer = hostile);
            span.in_scope(
                || warn!(name = %hostile, worker = 2, up = true, "cannot open '{hostile}'"),
            );
            info!("{hostile}");
        });
        assert_eq!(log.lines().count(), 2, "{log}");
        assert!(!log.replace('\n', "").contains(crate::display::disturbs));
        let line: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
        assert_eq!(line["level"], "warning");
        assert_eq!(line["program"], "ftptest");
        assert_eq!(line["pid"], std::process::id());
        assert_eq!(line["message"], format!("cannot open '{hostile}'"));
        assert_eq!(line["fields"]["name"], hostile);
        assert_eq!(line["fields"]["worker"], 2);
        assert_eq!(line["fields"]["up"], true);
        assert!(line["spans"][0].as_str().unwrap().starts_with("session{"));
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }
}
