use std::sync::Arc;

use super::*;

/// A sink whose text can be read back.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn operator(progress: Progress, assume_yes: bool, between_lines: Duration) -> (TerminalOperator, Written) {
    let written = Written::default();
    let manners = Manners { progress, assume_yes, can_ask: false, color: false };
    let operator = TerminalOperator::writing_to(Box::new(written.clone()), manners, Interrupt::new());
    (TerminalOperator { between_lines, ..operator }, written)
}

fn copy_three_chunks(operator: &TerminalOperator) {
    operator.step("reading the ledger");
    operator.begin("copying rows", Some(3_000_000), Unit::Bytes);
    (0..3).for_each(|_| operator.advance(1_000_000));
    operator.finish("copied 3.0 MB");
    operator.warn("menu is unlogged");
}

#[test]
fn without_a_terminal_a_quick_task_is_two_lines() {
    let (operator, written) = operator(Progress::Lines, false, Duration::from_secs(3_600));
    copy_three_chunks(&operator);
    let expected = "reading the ledger\ncopying rows (3.0 MB)\ncopied 3.0 MB\nwarning: menu is unlogged\n";
    assert_eq!(written.text(), expected);
}

#[test]
fn a_long_task_says_in_between_how_far_it_is() {
    let (operator, written) = operator(Progress::Lines, false, Duration::ZERO);
    copy_three_chunks(&operator);
    assert!(written.text().contains("copying rows: 2.0 MB of 3.0 MB (66 %), "), "{}", written.text());
}

#[test]
fn quiet_hides_progress_but_not_warnings() {
    let (operator, written) = operator(Progress::Hidden, false, Duration::ZERO);
    copy_three_chunks(&operator);
    assert_eq!(written.text(), "warning: menu is unlogged\n");
}

#[test]
fn a_password_in_a_message_is_masked() {
    let (operator, written) = operator(Progress::Lines, false, Duration::ZERO);
    operator.step("connecting to postgres://u:s3cret@h/d");
    assert_eq!(written.text(), "connecting to postgres://u:***@h/d\n");
}

#[test]
fn yes_answers_and_nobody_cannot_be_asked() {
    let (yes, written) = operator(Progress::Lines, true, Duration::ZERO);
    assert_eq!(yes.confirm("Apply 2 migrations?"), Confirmation::Yes);
    assert_eq!(written.text(), "Apply 2 migrations? yes (--yes)\n");
    let (nobody, _) = operator(Progress::Lines, false, Duration::ZERO);
    assert_eq!(nobody.confirm("Apply 2 migrations?"), Confirmation::CannotAsk);
}

#[test]
fn the_progress_line_has_share_rate_and_time_left_where_they_are_known() {
    let now = Instant::now();
    let task = |total, unit, done| Task {
        name: "copying rows".to_string(),
        total,
        unit,
        done,
        started: now,
        last_line: now,
        bar: None,
    };
    let line = |task: Task| progress_line(&task, Duration::from_secs(10));
    assert_eq!(
        line(task(Some(1_500_000_000), Unit::Bytes, 500_000_000)),
        "copying rows: 500 MB of 1.5 GB (33 %), 50.0 MB/s, 20.0 s left"
    );
    assert_eq!(line(task(None, Unit::Bytes, 5_000_000)), "copying rows: 5.0 MB, 500 kB/s");
    assert_eq!(line(task(Some(4), Unit::Items, 0)), "copying rows: 0 of 4 (0 %)");
    assert_eq!(line(task(Some(2), Unit::Items, 3)), "copying rows: 3");
    assert_eq!(line(task(Some(0), Unit::Items, 0)), "copying rows: 0");
}

#[test]
fn every_template_is_one_that_indicatif_reads() {
    for total in [Some(10), None] {
        for unit in [Unit::Bytes, Unit::Items] {
            let template = template(total, unit);
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
