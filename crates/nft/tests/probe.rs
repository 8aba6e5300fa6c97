use nft::*;
#[test] fn probe(){
 std::thread::spawn(||{ nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
 let t=Table::new(Family::Ip,"t"); let mut n=Nft::open().unwrap();
 let mut tx=Transaction::new(); tx.add_table(&t).add_set(&t,Set::new("s",[FieldType::IfName])).add_set(&t,Set::new("m",[FieldType::Ipv6Addr,FieldType::InetProto,FieldType::InetService]).to_values([FieldType::Ipv6Addr,FieldType::InetService])).add_set(&t,Set::new("p",[FieldType::Mark])); n.commit(&tx).unwrap();
 for l in [128,180,190,200,210,215,220,224,225,230,240,250,252,253]{
  let o="o".repeat(l); let mut tx=Transaction::new(); tx.add_element(&t,"s",Element::new(format!("e{l}")).owner(o.clone()));
  tx.add_element(&t,"p",Element::new(Value::Mark(l as u32)).owner(o.clone()));
  tx.add_element(&t,"m",Element::new([Value::Ipv6(1u128.into()),Value::Proto(1),Value::Port(l as u16)]).value([Value::Ipv6(1u128.into()),Value::Port(l as u16)]).owner(o.clone()));
  let r=n.commit(&tx);
  let f=n.element(&t,"s",format!("e{l}"));
  let g=n.element(&t,"m",[Value::Ipv6(1u128.into()),Value::Proto(1),Value::Port(l as u16)]).unwrap().and_then(|e|e.owner).map(|o|o.len());
  let h=n.element(&t,"p",Value::Mark(l as u32)).unwrap().and_then(|e|e.owner).map(|o|o.len());
  println!("{l} {:?} {:?} {g:?} {h:?}",r.map_err(|e|e.to_string().len()),f.map(|e|e.map(|e|e.owner.map(|o|o.len()))));
 }}).join().unwrap();
}
