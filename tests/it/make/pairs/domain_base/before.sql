CREATE DOMAIN domain_base_d AS int;
CREATE TABLE domain_base_x (a domain_base_d);
