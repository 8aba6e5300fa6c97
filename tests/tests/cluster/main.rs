//! Kubernetes over our pods: several nodes, Services, DNS and Ingress. One scenario is one test, named as what must hold.

mod dns;
mod ingress;
mod pages;
mod pods;
mod services;
