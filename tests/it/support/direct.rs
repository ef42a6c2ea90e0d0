//! SQL over a connection of our own, as `psql -X -q -At` would run and print it: to start psql costs more than most queries.

use tokio_postgres::{NoTls, SimpleQueryMessage};

/// Why it was not run here.
pub enum Failure {
    /// The server refused it: `ERROR:  …`, as psql has it.
    Refused(String),
    /// It is for psql: another encoding, data in the text, no connection.
    ForPsql,
}

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
}

/// Runs statements in one session, each in a message of its own, and returns the rows of all of them.
pub fn run(url: &str, statements: &[&str]) -> Result<String, Failure> {
    RUNTIME.with(|runtime| runtime.block_on(within(url, statements)))
}

async fn within(url: &str, statements: &[&str]) -> Result<String, Failure> {
    let mut config: tokio_postgres::Config = url.parse().map_err(|_| Failure::ForPsql)?;
    config.application_name("psql");
    let (client, connection) = config.connect(NoTls).await.map_err(|_| Failure::ForPsql)?;
    // psql would send and read the bytes of the database as they are.
    if connection.parameter("server_encoding") != Some("UTF8") {
        return Err(Failure::ForPsql);
    }
    let connection = tokio::spawn(connection);
    let printed = print(&client, statements).await;
    drop(client);
    // Until the session is closed.
    let _ = connection.await;
    printed
}

async fn print(client: &tokio_postgres::Client, statements: &[&str]) -> Result<String, Failure> {
    let mut lines = Vec::new();
    for statement in statements {
        for message in client.simple_query(statement).await.map_err(|error| refused(&error))? {
            if let SimpleQueryMessage::Row(row) = message {
                let cells: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or_default()).collect();
                lines.push(cells.join("|"));
            }
        }
    }
    Ok(lines.join("\n"))
}

fn refused(error: &tokio_postgres::Error) -> Failure {
    match error.as_db_error() {
        Some(error) => {
            let detail = error.detail().map(|detail| format!("\nDETAIL:  {detail}")).unwrap_or_default();
            Failure::Refused(format!("{}:  {}{detail}", error.severity(), error.message()))
        }
        None => Failure::Refused(format!(
            "{error}: {}",
            std::error::Error::source(error).map_or(String::new(), ToString::to_string)
        )),
    }
}
