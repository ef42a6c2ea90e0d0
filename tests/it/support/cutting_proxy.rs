//! A proxy in front of a server that cuts one connection at one statement, before or after the server has run it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

struct Shared {
    server_port: u16,
    rule: CutAt,
    has_cut: AtomicBool,
}

/// A running proxy; its threads end with the test process.
pub struct CuttingProxy {
    port: u16,
    shared: Arc<Shared>,
}

impl CuttingProxy {
    /// Starts one in front of the server at this port of the loopback interface.
    pub fn start(server_port: u16, rule: CutAt) -> CuttingProxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { server_port, rule, has_cut: AtomicBool::new(false) });
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
        if kind == *b"Q" {
            let text = String::from_utf8_lossy(&body);
            if has_sent && text.starts_with(shared.rule.at) && !shared.has_cut.swap(true, Ordering::SeqCst) {
                if shared.rule.cut != Cut::Before {
                    swallow.store(true, Ordering::SeqCst);
                    write_message(server, Some(kind[0]), &body)?;
                }
                if shared.rule.cut == Cut::Sent {
                    let _ = client.shutdown(Shutdown::Both);
                }
                return Ok(());
            }
            has_sent |= text.contains(shared.rule.once_sent);
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
