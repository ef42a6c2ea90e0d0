//! A proxy in front of a server that cuts one connection at one statement, before or after the server has run it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// When the connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never gets the statement.
    Before,
    /// The server runs it, and its answer is lost.
    After,
    /// The server gets it, and the connection is cut at once, on our side only: it may still be at work.
    Sent,
}

/// Which statement: the first simple query that begins with `at`, on a connection that has sent `once_sent` before.
#[derive(Clone, Debug)]
pub struct CutAt {
    pub once_sent: &'static str,
    pub at: &'static str,
    pub cut: Cut,
}

/// What is cut.
enum Rule {
    At(CutAt),
    /// The statement with this number of all that pass, from 0.
    Number(AtomicU32, Cut),
}

struct Shared {
    server_port: u16,
    rule: Rule,
    has_cut: AtomicBool,
    statements: AtomicU32,
}

impl Shared {
    /// Whether the connection is cut at this message, and how.
    fn cut_at(&self, kind: u8, body: &[u8], has_sent: &mut bool) -> Option<Cut> {
        let cut = match &self.rule {
            Rule::At(rule) if kind == b'Q' => {
                let text = String::from_utf8_lossy(body);
                let is_it = *has_sent && text.starts_with(rule.at);
                *has_sent |= text.contains(rule.once_sent);
                is_it.then_some(rule.cut)
            }
            // A simple query, or the end of an extended one (PostgreSQL documentation, "Message Formats").
            Rule::Number(number, cut) if kind == b'Q' || kind == b'S' => {
                let passes = self.statements.fetch_add(1, Ordering::SeqCst);
                (passes == number.load(Ordering::SeqCst)).then_some(*cut)
            }
            _ => None,
        };
        cut.filter(|_| !self.has_cut.swap(true, Ordering::SeqCst))
    }
}

/// A running proxy; its threads end with the test process.
pub struct CuttingProxy {
    port: u16,
    shared: Arc<Shared>,
}

impl CuttingProxy {
    /// Starts one in front of the server at this port of the loopback interface.
    pub fn start(server_port: u16, rule: CutAt) -> CuttingProxy {
        Self::with(server_port, Rule::At(rule))
    }

    /// Starts one that cuts at the statement with this number, of all connections together.
    pub fn at_number(server_port: u16, number: u32, cut: Cut) -> CuttingProxy {
        Self::with(server_port, Rule::Number(AtomicU32::new(number), cut))
    }

    fn with(server_port: u16, rule: Rule) -> CuttingProxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (has_cut, statements) = (AtomicBool::new(false), AtomicU32::new(0));
        let shared = Arc::new(Shared { server_port, rule, has_cut, statements });
        let ours = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&ours);
                std::thread::spawn(move || serve(client, &shared));
            }
        });
        CuttingProxy { port, shared }
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many statements have passed.
    pub fn statements(&self) -> u32 {
        self.shared.statements.load(Ordering::SeqCst)
    }

    /// Whether it has cut, which it does once.
    pub fn has_cut(&self) -> bool {
        self.shared.has_cut.load(Ordering::SeqCst)
    }
}

fn serve(client: TcpStream, shared: &Shared) {
    let server = TcpStream::connect(("127.0.0.1", shared.server_port)).unwrap();
    let swallow = Arc::new(AtomicBool::new(false));
    let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let swallows = Arc::clone(&swallow);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from_server.read(&mut buffer) {
            // The answer has come, so the server has run it.
            if swallows.load(Ordering::SeqCst) || to_client.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        close(&from_server, &to_client);
    });
    let _ = forward(&client, &server, shared, &swallow);
    if !swallow.load(Ordering::SeqCst) {
        close(&server, &client);
    }
}

fn close(one: &TcpStream, other: &TcpStream) {
    let _ = one.shutdown(Shutdown::Both);
    let _ = other.shutdown(Shutdown::Both);
}

/// Forwards messages (PostgreSQL documentation, "Message Flow") until the connection ends or is to be cut.
fn forward(
    mut client: &TcpStream,
    mut server: &TcpStream,
    shared: &Shared,
    swallow: &AtomicBool,
) -> std::io::Result<()> {
    // An SSLRequest is answered and followed by the startup message; neither has a type.
    loop {
        let body = read_body(client)?;
        write_message(server, None, &body)?;
        if body.get(..4) != Some(&80_877_103_u32.to_be_bytes()) {
            break;
        }
    }
    let mut has_sent = false;
    loop {
        let mut kind = [0];
        client.read_exact(&mut kind)?;
        let body = read_body(client)?;
        match shared.cut_at(kind[0], &body, &mut has_sent) {
            None => {}
            Some(Cut::Before) => return Ok(()),
            Some(cut) => {
                swallow.store(true, Ordering::SeqCst);
                write_message(server, Some(kind[0]), &body)?;
                if cut == Cut::Sent {
                    let _ = client.shutdown(Shutdown::Both);
                }
                return Ok(());
            }
        }
        write_message(server, Some(kind[0]), &body)?;
        server.flush()?;
    }
}

fn read_body(mut from: &TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
    from.read_exact(&mut body)?;
    Ok(body)
}

fn write_message(mut to: &TcpStream, kind: Option<u8>, body: &[u8]) -> std::io::Result<()> {
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend((body.len() as u32 + 4).to_be_bytes());
    message.extend(body);
    to.write_all(&message)
}
