CREATE DOMAIN domain_change_d AS int DEFAULT 1 CONSTRAINT domain_change_c CHECK (VALUE > 0);
CREATE TABLE domain_change_x (a domain_change_d);
