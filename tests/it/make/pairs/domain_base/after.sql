-- refused: domain
CREATE DOMAIN domain_base_d AS bigint;
CREATE TABLE domain_base_x (a domain_base_d);
