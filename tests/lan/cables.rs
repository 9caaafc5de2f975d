//! The harness itself: a cable does what the tests believe that it does.

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use anyhow::{Result, ensure};
use sharekaro_tests::{Cable, on_a_dark_lan, within};

/// Datagrams that are under way at once: the socket of the receiver has room for them, however little the kernel grants.
const AT_ONCE: usize = 20;

/// How many of a hundred datagrams arrive.
fn arriving(from: &Cable, to: &Cable) -> Result<usize> {
    let receiver = within(to.namespace(), || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 4000))?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(socket)
    })?;
    let target = (to.address(), 4000);
    let sender = within(from.namespace(), || Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    let some_of_them = |_| {
        for _ in 0..AT_ONCE {
            // On a pulled cable the kernel may say so at once.
            let _ = sender.send_to(&[7; 100], (&*target.0, target.1));
        }
        (0..AT_ONCE).take_while(|_| receiver.recv(&mut [0; 2000]).is_ok()).count()
    };
    Ok((0..100 / AT_ONCE).map(some_of_them).sum())
}

#[test]
fn a_cable_carries_loses_and_is_cut() -> Result<()> {
    on_a_dark_lan(["one", "two"], |[one, two]| {
        let (one, two) = (one.cable(), two.cable());

        ensure!(arriving(one, two)? == 100, "a whole cable loses");
        two.pull()?;
        ensure!(arriving(one, two)? == 0, "a pulled cable carries");
        two.put_back()?;
        two.move_to("10.77.0.99")?;
        // The switch and the neighbours need a moment to notice; the first packets may be lost.
        sharekaro_tests::until("the cable carries again", 10, || Ok((arriving(one, two)? == 100).then_some(())))?;
        two.lose(50)?;
        let arrived = arriving(one, two)?;
        ensure!((20..=80).contains(&arrived), "{arrived} of 100 arrived where half should");
        two.shape("1mbit")
    })
}
