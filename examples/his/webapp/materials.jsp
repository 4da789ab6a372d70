<%@ include file="/WEB-INF/common.jspf" %><%@ page buffer="256kb" %><!DOCTYPE html>
<html lang="zh-Hans">
<head><meta charset="UTF-8"><title>物料 - HIS</title><link rel="stylesheet" href="style.css"></head>
<body>
<nav><b>HIS</b> <a href="login.jsp">登录</a> <a href="divisions.jsp">行政区划</a> <a href="departments.jsp">科室</a> <a href="materials.jsp">物料</a></nav>
<h1>物料</h1>
<%  try (Connection db = open()) { %>
<table><tr><th>编码</th><th>名称</th><th>规格</th><th>单位</th><th>单价(元)</th><th>科室</th></tr>
<%      for (Object[] row : rows(db, "select m.code, m.name, m.spec, m.unit, m.price, d.name from materials m"
            + " join departments d on d.code = m.department order by m.code")) { %>
<tr><td><%= html(row[0]) %></td><td><%= html(row[1]) %></td><td><%= html(row[2]) %></td><td><%= html(row[3]) %></td><td class="number"><%= html(row[4]) %></td><td><%= html(row[5]) %></td></tr>
<%      } %>
</table>
<p class="note">共 <%= one(db, "select count(*) from materials") %> 种物料</p>
<%  } %>
</body></html>
