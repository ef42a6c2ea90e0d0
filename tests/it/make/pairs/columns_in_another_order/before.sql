CREATE TABLE columns_in_another_order_x (a int, b int);
