//! The harness itself: a cable does what the tests believe that it does.

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use anyhow::{Result, ensure};
use sharekaro_tests::{Cable, on_a_dark_lan, within};

/// How many of a hundred datagrams arrive.
fn arriving(from: &Cable, to: &Cable) -> Result<usize> {
    let receiver = within(to.namespace(), || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 4000))?;
        socket.set_read_timeout(Some(Duration::from_millis(300)))?;
        Ok(socket)
    })?;
    let target = (to.address(), 4000);
    within(from.namespace(), || {
        let sender = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        for _ in 0..100 {
            // On a pulled cable the kernel may say so at once.
            let _ = sender.send_to(&[7; 100], (&*target.0, target.1));
        }
        Ok(())
    })?;
    Ok((0..100).take_while(|_| receiver.recv(&mut [0; 2000]).is_ok()).count())
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
